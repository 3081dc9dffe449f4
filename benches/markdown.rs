//! Pieces of reports. (The crates that write tables pad each cell, or leave the marks out that put a
//! column to the right.)

/// The head of a table. All columns but the first are to the right.
pub(crate) fn head(first: &str, columns: &[impl AsRef<str>]) -> String {
    let names = columns.iter().map(|name| name.as_ref().to_owned());
    format!("{}|---|{}\n", row(first, names), "--:|".repeat(columns.len()))
}

pub(crate) fn row(first: &str, cells: impl IntoIterator<Item = String>) -> String {
    let first = if first.is_empty() { String::new() } else { format!(" {first}") };
    let cells: Vec<_> = cells.into_iter().collect();
    format!("|{first} | {} |\n", cells.join(" | "))
}

/// Something that the reader opens.
pub(crate) fn folded(title: &str, content: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n{content}\n</details>\n")
}

pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
