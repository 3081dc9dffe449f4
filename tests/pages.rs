//! README and the pages of the documentation: what they link to and name is there, and figures are
//! those that were measured. rustdoc looks after links to items.
#![cfg(all(feature = "std", not(bywash_loom), not(miri)))]

#[path = "support/markdown.rs"]
mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use markdown::{anchors, between};

const README: &str = include_str!("../README.md");
const FRONT: &str = "crate";
const ON_DOCS_RS: &str = "https://docs.rs/bywash/latest/bywash/";
const SOURCE_ON_DOCS_RS: &str = "https://docs.rs/crate/bywash/latest/source/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds the files in `folder` and below.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// What is written in comments of documentation.
fn documentation(source: &str) -> String {
    let lines = source.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))
    });
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// The text of the front page, and of each page that is a module.
fn pages() -> BTreeMap<String, String> {
    let source = read("src/lib.rs");
    let guides = between(&source, ": \"../docs/", '.');
    let guides = guides.map(|name| (name.to_owned(), read(format!("docs/{name}.md"))));
    let mut pages: BTreeMap<_, _> = guides.collect();
    pages.insert(FRONT.to_owned(), documentation(&source));
    pages
}

/// The targets of links in `text`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    between(text, "](", ')').chain(between(text, "]: ", '\n'))
}

/// Whether `link`, of the page `own`, leads to a heading that is there. `None` if it is no link to
/// a page or a heading.
fn leads_to_a_heading(pages: &BTreeMap<String, String>, own: &str, link: &str) -> Option<bool> {
    let link = link.strip_prefix(ON_DOCS_RS).unwrap_or(link);
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let path = path.strip_suffix("index.html").unwrap_or(path).trim_end_matches('/');
    let name = match path.strip_prefix("crate::").unwrap_or(path) {
        "" if link.starts_with('#') => own,
        "" => FRONT,
        name => name,
    };
    let page = pages.get(name)?;
    Some(heading.is_empty() || anchors(page, "#").contains(heading))
}

#[test]
fn links_lead_to_pages_and_headings_that_are_there() {
    let pages = pages();
    assert!(pages.len() > 9, "{:?}", pages.keys());
    let mut sources = Vec::new();
    files(&root().join("src"), &mut sources);
    let of_items = sources.iter().map(|path| ("an item".to_owned(), documentation(&read(path))));
    let readme = [("README".to_owned(), README.to_owned())];
    let mut count = 0;
    for (own, text) in pages.clone().into_iter().chain(of_items).chain(readme) {
        for link in links(&text) {
            let is_there = leads_to_a_heading(&pages, &own, link);
            assert!(is_there.unwrap_or(!link.starts_with(ON_DOCS_RS)), "{own} links to {link}");
            count += usize::from(is_there.is_some());
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn links_to_methods_that_need_a_feature_are_right() {
    let event_loop = read("src/event_loop.rs");
    for (own, text) in pages() {
        for link in links(&text).filter(|link| link.contains(".html#method.")) {
            let up = if own == FRONT { "" } else { "../" };
            let method = link.strip_prefix(&format!("{up}struct.Consumer.html#method."));
            let method = method.unwrap_or_else(|| panic!("{own} links to {link}"));
            assert!(event_loop.contains(&format!("pub fn {method}(")), "{own} links to {link}");
        }
    }
}

#[test]
fn the_files_that_are_linked_to_are_there_and_in_the_package() {
    let manifest = read("Cargo.toml");
    let is_packed = |file: &str| {
        let part = file.split(['/', '-']).next().unwrap();
        manifest.contains(&format!("\"/{part}\"")) || manifest.contains(&format!("\"/{part}-*\""))
    };
    let texts = pages().into_values().chain([README.to_owned()]);
    let mut found = BTreeSet::new();
    for text in texts {
        for file in links(&text).filter_map(|link| link.strip_prefix(SOURCE_ON_DOCS_RS)) {
            assert!(root().join(file).exists() && is_packed(file), "{file}");
            found.insert(file.to_owned());
        }
    }
    assert!(found.len() > 4, "{found:?}");
    // What is shown at crates.io has no files beside it.
    links(README).for_each(|link| assert!(link.starts_with("https://"), "{link}"));
    for page in ["CONTRIBUTING.md", "CHANGELOG.md"] {
        for link in links(&read(page)).filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            assert!(heading.is_empty() || anchors(&read(file), "#").contains(heading), "{link}");
            assert!(root().join(file).exists(), "{page} links to {link}");
        }
    }
}

/// What is in the repository and not in the package.
fn is_a_clone() -> bool {
    root().join("benches").exists()
}

#[test]
fn the_files_and_examples_that_are_named_are_there() {
    let texts = pages().into_values().chain([README.to_owned(), read("examples/README.md")]);
    let (mut paths, mut examples) = (0, 0);
    for text in texts {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        // Blocks of code are marked by three of these, which come in pairs, too.
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split_whitespace().next().unwrap_or_default();
            let is_path = |folder: &&str| path.starts_with(*folder);
            if ["tests/", "docs/", "examples/", "benches/"].iter().any(is_path) {
                let may_be_left_out = is_path(&"examples/") || is_path(&"benches/");
                let is_there = root().join(path).exists() || (may_be_left_out && !is_a_clone());
                assert!(is_there, "{quoted}");
                paths += 1;
            }
        }
        let named = between(&text, "xample `", '`').chain(between(&text, "xamples `", '`'));
        for name in named.chain(between(&text, "--example ", '`')).filter(|name| *name != "…") {
            let example = root().join("examples").join(name);
            let is_there = example.exists() || example.with_extension("rs").exists();
            assert!(is_there || (name == "python" && !is_a_clone()), "example {name}");
            examples += 1;
        }
    }
    assert!(paths > 30 && examples > 10, "{paths} paths, {examples} examples");
}

/// Those that CI runs, and the one that repeats the figures.
#[test]
fn readme_names_the_commands() {
    let readme = README.split_whitespace().collect::<Vec<_>>().join(" ");
    for command in ["test", "run --release --example logging", "bench --bench compare -- --quick"] {
        assert!(readme.contains(&format!("`cargo {command}`")), "{command}");
    }
}

#[test]
fn readme_and_front_page_link_to_each_guide() {
    let pages = pages();
    for guide in pages.keys().filter(|name| *name != FRONT) {
        assert!(README.contains(&format!("{ON_DOCS_RS}{guide}/index.html")), "README: {guide}");
        assert!(pages[FRONT].contains(&format!("]({guide})")), "front page: {guide}");
    }
    let words = README.split_whitespace().count();
    assert!(words <= 900, "README has {words} words");
}

/// The rows of the first table in `text` after `heading`, as cells, with the header first.
fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("there is no {heading}"));
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(str::trim).collect();
    rows.filter(|row| !row.starts_with("|---") && !row.starts_with("|--:")).map(cells).collect()
}

#[test]
fn readmes_table_of_interruption_is_what_was_measured() {
    if !is_a_clone() {
        return;
    }
    let measured = read("benches/INTERRUPTED.md");
    let measured = table(&measured, "## In short");
    let shown = table(README, "## Interrupted at every instruction");
    assert_eq!(shown.len(), 6);
    for row in &shown[1..] {
        let line = measured.iter().find(|line| line[0] == row[0]).expect(row[0]);
        for (column, cell) in shown[0].iter().zip(row).skip(1) {
            let place = measured[0].iter().position(|name| name == column).expect(column);
            assert_eq!(line[place], *cell, "{}: {column}", row[0]);
        }
    }
}

#[test]
fn readmes_instructions_are_the_limits_that_are_checked() {
    if !is_a_clone() {
        return;
    }
    let source = read("benches/compare/counts/mod.rs");
    let (_, limits) = source.split_once("const LIMITS").unwrap();
    let (limits, _) =
        limits.split_once(';').map(|(_, rest)| rest.split_once(';').unwrap()).unwrap();
    let limits: Vec<_> = between(limits, "at_most(", ')').collect();
    let shown = table(README, "## What a call costs");
    let shown: Vec<_> = shown[1..].iter().map(|row| row[1..].join(", ")).collect();
    assert_eq!(shown, limits);
}

#[test]
fn readmes_range_of_streams_is_what_was_measured() {
    if !is_a_clone() {
        return;
    }
    let results = read("benches/RESULTS.md");
    let is_stream = |row: &&str| {
        let name = row.strip_prefix("| spinning, ").and_then(|rest| rest.split(" |").next());
        name.is_some_and(|name| {
            name.replace(", pinned", "").split(' ').count() == 2 && !name.starts_with("1 ")
        })
    };
    let ratios: BTreeSet<_> = results
        .lines()
        .filter(is_stream)
        .filter_map(|row| row.rsplit('|').find(|cell| cell.contains('–')))
        .filter_map(|cell| cell.split_whitespace().next())
        .collect();
    let (best, worst) = (ratios.first().unwrap(), ratios.last().unwrap());
    assert!(README.contains(&format!("{best} to {worst} of the time")), "{best} to {worst}");
    let is_stream = |row: &&str| {
        ["2", "4", "16"]
            .iter()
            .any(|producers| row.starts_with(&format!("| try/{producers}_to_1/u64,capacity_1024")))
    };
    let to_crossbeam = results.lines().filter(is_stream).map(|row| {
        let figure = |cell: &str| cell.trim_matches([' ', '*']).parse::<f64>().unwrap();
        let cells: Vec<_> = row.split('|').collect();
        format!("{:.2}", figure(cells[2]) / figure(cells[4]))
    });
    let ratios: BTreeSet<_> = to_crossbeam.collect();
    let (best, worst) = (ratios.first().unwrap(), ratios.last().unwrap());
    assert!(README.contains(&format!("{best} to {worst} of `crossbeam-channel`'s")), "{ratios:?}");
}
