//! Exit codes from the text of a status, which is all that a framework is told.

use tepui_wire::signals;

/// What a name stands for that nobody has given to a signal.
const UNKNOWN: &str = "Unknown signal ";

/// The command's status in "Command exited with status 7", or 128 + the signal's number in
/// "Command terminated with signal Killed"; `None` for any other text. Lines before and after tell what
/// else is known; those that begin with a blank are the command's own.
pub(crate) fn code(message: &str) -> Option<u8> {
    message.lines().filter(|line| !line.starts_with(' ')).find_map(code_in)
}

fn code_in(line: &str) -> Option<u8> {
    // Ports that it was refused are told behind it.
    let line = line.split(';').next()?.trim_end();
    if let Some((_, status)) = line.split_once("exited with status ") {
        let digits: String = status.chars().take_while(char::is_ascii_digit).collect();
        return digits.parse().ok();
    }
    let (_, name) = line.split_once("terminated with signal ")?;
    let name = name.trim_end_matches(" (core dumped)");
    if let Some(number) = name.strip_prefix(UNKNOWN) {
        return number.parse::<u8>().ok()?.checked_add(128);
    }
    signals::number(name).map(|signal| 128 + signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_signals_are_read() {
        for (text, expected) in [
            ("Command exited with status 7", Some(7)),
            ("Command exited with status 0", Some(0)),
            ("Command terminated with signal Killed", Some(137)),
            ("Command terminated with signal Terminated", Some(143)),
            ("Command terminated with signal Segmentation fault (core dumped)", Some(139)),
            ("Command terminated with signal Bad system call", Some(159)),
            (
                "Command exited with status 4; denied bind tcp 0.0.0.0:80 (once)\npeak memory 1 MB",
                Some(4),
            ),
            ("Command terminated with signal Killed\nthe signal came from the kernel", Some(137)),
            (
                "Memory limit exceeded: Requested: 40MB Maximum Used: 40MB\n\
                 Command terminated with signal Killed; denied bind tcp 0.0.0.0:80 (once)\n\
                 last error output:\n  a part exited with status 3",
                Some(137),
            ),
            ("Command terminated with signal Unknown signal 34", Some(162)),
            ("Command terminated with signal Unknown signal 999", None),
            ("Ended\nlast error output:\n  it exited with status 3", None),
            ("Command exited with status 700", None),
            ("Container exceeded its memory", None),
            ("", None),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
