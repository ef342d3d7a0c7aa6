//! What is different between two texts, by lines: the form of `diff -u`.

/// Lines around a difference.
const AROUND: usize = 3;
/// Texts with more lines, or with more differences, are not compared.
const MOST_LINES: usize = 4000;
const MOST_STEPS: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Same,
    Removed,
    Added,
}

/// The lines that differ, each with ` `, `-` or `+` before it, and a head for each group; `None` when that
/// would take too long.
pub(super) fn unified(before: &str, after: &str) -> Option<Vec<String>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (lines(before), lines(after));
    if old.len().max(new.len()) > MOST_LINES {
        return None;
    }
    Some(grouped(&old, &new, &steps(&old, &new)?))
}

/// Lines, the last one marked when no newline ends it.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// The shortest way from one list to the other: E. Myers, An O(ND) difference algorithm, 1986.
fn steps(old: &[&str], new: &[&str]) -> Option<Vec<Step>> {
    let (rows, columns) = (old.len(), new.len());
    let most = (rows + columns).min(MOST_STEPS);
    let middle = most + 1;
    // How far in `old` one gets on each diagonal, for every number of differences.
    let mut reach = vec![0_usize; 2 * middle + 1];
    let mut history = Vec::new();
    for differences in 0..=most {
        history.push(reach.clone());
        for diagonal in (middle - differences..=middle + differences).step_by(2) {
            let down = diagonal == middle - differences
                || (diagonal != middle + differences && reach[diagonal - 1] < reach[diagonal + 1]);
            let mut row = if down { reach[diagonal + 1] } else { reach[diagonal - 1] + 1 };
            // A diagonal is `row - column`, counted from `middle`.
            let Some(mut column) = (row + middle).checked_sub(diagonal) else { continue };
            while row < rows && column < columns && old[row] == new[column] {
                (row, column) = (row + 1, column + 1);
            }
            reach[diagonal] = row;
            if row >= rows && column >= columns {
                return Some(back(&history, middle, rows, columns));
            }
        }
    }
    None
}

/// The way that led to the end.
fn back(history: &[Vec<usize>], middle: usize, rows: usize, columns: usize) -> Vec<Step> {
    let (mut row, mut column) = (rows, columns);
    let mut steps = Vec::new();
    for (differences, reach) in history.iter().enumerate().rev() {
        let diagonal = row + middle - column;
        let down = diagonal == middle - differences
            || (diagonal != middle + differences && reach[diagonal - 1] < reach[diagonal + 1]);
        let before = if down { diagonal + 1 } else { diagonal - 1 };
        let (from_row, from_column) =
            if differences == 0 { (0, 0) } else { (reach[before], reach[before] + middle - before) };
        let (after_row, after_column) = match (differences, down) {
            (0, _) => (0, 0),
            (_, true) => (from_row, from_column + 1),
            (_, false) => (from_row + 1, from_column),
        };
        while row > after_row && column > after_column {
            steps.push(Step::Same);
            (row, column) = (row - 1, column - 1);
        }
        if differences > 0 {
            steps.push(if down { Step::Added } else { Step::Removed });
            (row, column) = (from_row, from_column);
        }
    }
    steps.reverse();
    steps
}

fn grouped(old: &[&str], new: &[&str], steps: &[Step]) -> Vec<String> {
    let near = |at: usize| {
        let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(steps.len());
        steps[around].iter().any(|step| *step != Step::Same)
    };
    let mut text = Vec::new();
    let (mut row, mut column, mut open) = (0, 0, false);
    for (at, step) in steps.iter().enumerate() {
        if near(at) {
            if !open {
                text.push(format!("@@ -{} +{} @@", row + 1, column + 1));
            }
            let (mark, line) = match step {
                Step::Same => (' ', old[row]),
                Step::Removed => ('-', old[row]),
                Step::Added => ('+', new[column]),
            };
            let ended = line.strip_suffix('\n');
            text.push(format!("{mark}{}", ended.unwrap_or(line)));
            if ended.is_none() {
                text.push("\\ no newline at the end".into());
            }
        }
        open = near(at);
        row += usize::from(*step != Step::Added);
        column += usize::from(*step != Step::Removed);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_with_what_is_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = "1\n2\n3\n4\n5\nsix\n7\n8\n9\n";
        assert_eq!(unified(before, after).unwrap(), ["@@ -3 +3 @@", " 3", " 4", " 5", "-6", "+six", " 7", " 8", " 9"]);
    }

    #[test]
    fn ends_without_a_newline_and_empty_texts_are_told_apart() {
        assert_eq!(unified("a\n", "a").unwrap(), ["@@ -1 +1 @@", "-a", "+a", "\\ no newline at the end"]);
        assert_eq!(unified("", "a\n").unwrap(), ["@@ -1 +1 @@", "+a"]);
        assert!(unified("a\nb\n", "a\nb\n").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn the_steps_lead_from_one_text_to_the_other(old in "[ab\n]{0,40}", new in "[ab\n]{0,40}") {
            let (old, new) = (lines(&old), lines(&new));
            let (mut row, mut made) = (0, Vec::new());
            for step in steps(&old, &new).unwrap() {
                match step {
                    Step::Same => { assert_eq!(old[row], new[made.len()]); made.push(old[row]); row += 1; }
                    Step::Removed => row += 1,
                    Step::Added => made.push(new[made.len()]),
                }
            }
            assert_eq!((row, made), (old.len(), new));
        }
    }
}
