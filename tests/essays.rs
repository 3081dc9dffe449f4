//! The essays in `src/` and the code agree: each ordering with a label has one row in a table, which
//! says what the code does, and the models that the row names are there. Each numbered invariant is
//! stated once.
#![cfg(all(feature = "std", not(bywash_loom), not(miri)))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Texts by the paths of their files.
type Files = BTreeMap<String, String>;

/// Those in a folder of the package.
fn files(folder: &str) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        if whole.is_dir() {
            files.append(&mut self::files(&path));
        } else {
            files.extend(fs::read_to_string(whole).ok().map(|text| (path, text)));
        }
    }
    files
}

/// What is between two marks, each time.
fn quoted<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(mark).skip(1).step_by(2)
}

/// The labels in a text, such as `claim:C` in `[claim:C]`.
fn labels(text: &str) -> Vec<&str> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_kind =
        |kind: &str| kind.len() == 1 && kind.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_label =
        |text: &&str| text.split_once(':').is_some_and(|(a, b)| is_name(a) && is_kind(b));
    text.split(['[', ']']).filter(is_label).collect()
}

/// A row of a table of orderings.
struct Row {
    labels: Vec<String>,
    operation: String,
    models: String,
}

fn rows(source: &Files) -> Vec<Row> {
    let lines = source.values().flat_map(|text| text.lines());
    let row = |line: &str| {
        let cells: Vec<_> = line.split(" | ").collect();
        let labels = labels(cells[1]).into_iter().map(str::to_owned).collect();
        let (operation, models) = (cells[3].to_owned(), cells[cells.len() - 1].to_owned());
        Row { labels, operation, models }
    };
    let is_row = |line: &&str| line.starts_with("//! | [") && !labels(line).is_empty();
    lines.filter(is_row).map(row).collect()
}

#[test]
fn each_label_has_one_row_which_says_what_is_done_there() {
    let source = files("src");
    let rows = rows(&source);
    assert!(!rows.is_empty());
    let row_of = |label: &str, place: &str| {
        let rows: Vec<_> =
            rows.iter().filter(|row| row.labels.iter().any(|own| own == label)).collect();
        assert_eq!(rows.len(), 1, "{place}: how many rows [{label}] has");
        rows[0]
    };
    let mut done = BTreeSet::new();
    for (path, text) in &source {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let place = format!("{path}:{}", index + 1);
            labels(line).into_iter().for_each(|label| _ = row_of(label, &place));
            if !line.starts_with("// [") {
                continue;
            }
            // Its own labels, the ordering, and then what it pairs with.
            let (own, rest) = line.split_once("] ").unwrap_or((line, ""));
            let ordering = rest.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            for label in labels(&format!("{own}]")) {
                let says = &row_of(label, &place).operation;
                assert!(says.contains(ordering), "{place}: {ordering}, but its row says {says}");
                done.insert(label.to_owned());
            }
            // Without one, what is called there does it.
            let ordering = if ordering.is_empty() { "" } else { &format!("Ordering::{ordering}") };
            let code = lines[index..].iter().take(10).any(|line| line.contains(ordering));
            assert!(code, "{place}: there is no {ordering}");
        }
    }
    for label in rows.iter().flat_map(|row| &row.labels) {
        assert!(done.contains(label), "[{label}] has a row, and is at no operation");
    }
}

/// Models of `tests/loom.rs` are those that `tests/weaken` tries. In a table, those of
/// `tests/memory_model/` follow its name.
#[test]
fn the_models_that_a_row_names_are_there_and_try_its_labels() {
    let tests = files("tests");
    let memory_model: String =
        tests.iter().filter(|(path, _)| path.contains("memory_model/")).map(|f| &**f.1).collect();
    let weaken: Vec<Vec<_>> =
        tests["tests/weaken"].lines().map(|line| line.split('|').collect()).collect();
    for Row { labels, models, .. } in rows(&files("src")) {
        let (loom, memory) = models.split_once("`memory_model`: ").unwrap_or((&models, ""));
        let is_argued = models.starts_with("argued") || models.starts_with("the same");
        assert!(is_argued || models.contains('`'), "{labels:?} have no model");
        for model in quoted(loom, "`") {
            let is_there = tests["tests/loom.rs"].contains(&format!("fn {model}()"));
            assert!(is_there, "{labels:?}: {model} is not in tests/loom.rs");
            let is_tried = weaken.iter().any(|weakening| {
                weakening.last().is_some_and(|last| last.trim_end_matches('\'') == model)
                    && labels.iter().any(|label| weakening[0].contains(label))
            });
            assert!(is_tried, "{labels:?}: tests/weaken does not show that {model} fails");
        }
        for model in quoted(memory, "`") {
            let is_there = memory_model.contains(&format!("fn {model}()"));
            assert!(is_there, "{labels:?}: {model} is not in tests/memory_model");
            let is_tried = labels.iter().any(|label| memory_model.contains(&format!("[{label}]")));
            assert!(is_tried, "{labels:?}: tests/memory_model does not name them");
        }
    }
}

#[test]
fn each_invariant_is_stated_once_and_those_that_are_cited_are_stated() {
    let source = files("src");
    let mut stated = BTreeMap::<&str, usize>::new();
    for text in source.values() {
        let names = text
            .lines()
            .filter(|line| line.starts_with("//! "))
            .flat_map(|line| quoted(line, "**").filter(|name| is_invariant(name)));
        names.for_each(|name| *stated.entry(name).or_default() += 1);
    }
    assert!(!stated.is_empty());
    stated.iter().for_each(|(name, count)| assert_eq!(*count, 1, "how often {name} is stated"));
    let is_of_a_family = |name: &&str| {
        is_invariant(name) && stated.keys().any(|other| other.as_bytes()[0] == name.as_bytes()[0])
    };
    for (path, text) in source.iter().chain(&files("tests")) {
        for (line, number) in text.lines().zip(1..) {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            let words = comment.split(|c: char| !c.is_alphanumeric());
            for name in words.filter(is_of_a_family) {
                assert!(stated.contains_key(name), "{path}:{number}: {name} is stated nowhere");
            }
        }
    }
}

/// Whether it is the name of an invariant, such as `R1`.
fn is_invariant(name: &str) -> bool {
    let mut bytes = name.bytes();
    (2..=3).contains(&name.len())
        && bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
        && bytes.all(|byte| byte.is_ascii_digit())
}
