//! The page "In production" has an answer to each of the thirty questions, and the tests that it
//! names are there.
#![cfg(all(feature = "std", not(bywash_loom), not(miri)))]

#[path = "support/markdown.rs"]
mod markdown;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use markdown::{anchors, between};

const PAGE: &str = include_str!("../docs/in_production.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn each_of_the_thirty_questions_has_an_answer_and_each_answer_a_question() {
    let answers = anchors(PAGE, "### ");
    let (questions, _) = PAGE.split_once("\n## ").unwrap();
    let is_numbered = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let lines: Vec<_> = questions.lines().filter(is_numbered).collect();
    assert_eq!(lines.len(), 30);
    let mut answered = BTreeSet::new();
    for (number, line) in (1..).zip(lines) {
        assert!(line.starts_with(&format!("{number}. [")), "{line}");
        let mut links = between(line, "](#", ')');
        let link = links.next().unwrap_or_else(|| panic!("without an answer: {line}"));
        assert!(answers.contains(link), "there is no {link} among {answers:#?}");
        answered.insert(link.to_owned());
    }
    assert_eq!(answered, answers);
}

#[test]
fn the_tests_that_it_names_are_there() {
    let all: String = fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let (mut files, mut names) = (0, 0);
    // Blocks of code have no such names, and an even number of these marks.
    for quoted in PAGE.split('`').skip(1).step_by(2) {
        if quoted.starts_with("tests/") {
            assert!(root().join(quoted).exists(), "{quoted}");
            files += 1;
        } else if quoted.matches('_').count() >= 4 && !quoted.contains(char::is_whitespace) {
            let is_there =
                all.contains(&format!("fn {quoted}(")) || all.contains(&format!("\"{quoted}\""));
            assert!(is_there, "no test {quoted}");
            names += 1;
        }
    }
    assert!(files > 20 && names > 10, "{files} files, {names} names");
}

#[test]
fn the_names_for_a_debugger_are_those_of_the_source() {
    let names = [
        ("`push_slow`", "shared/push.rs", "fn push_slow<"),
        ("`pop_slow`", "shared/pop.rs", "fn pop_slow("),
        ("self.rare.value.name", "shared/mod.rs", "    rare: CachePadded<Rare>,"),
        ("self.rare.value.name", "shared/mod.rs", "    name: Option<Box<str>>,"),
        ("self.members.token", "shared/mod.rs", " members: Members,"),
        ("self.members.token", "threads/members.rs", "    token: AtomicUsize,"),
    ];
    for (name, file, definition) in names {
        let source = fs::read_to_string(root().join("src").join(file)).unwrap();
        assert!(PAGE.contains(name) && source.contains(definition), "{name}: {definition}");
    }
}
