//! Signals as the texts of statuses name them, which is all that a framework is told of them.

/// `strsignal` of glibc on Linux, of signals 1 to 31.
const TEXTS: [&str; 31] = [
    "Hangup",
    "Interrupt",
    "Quit",
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Killed",
    "User defined signal 1",
    "Segmentation fault",
    "User defined signal 2",
    "Broken pipe",
    "Alarm clock",
    "Terminated",
    "Stack fault",
    "Child exited",
    "Continued",
    "Stopped (signal)",
    "Stopped",
    "Stopped (tty input)",
    "Stopped (tty output)",
    "Urgent I/O condition",
    "CPU time limit exceeded",
    "File size limit exceeded",
    "Virtual timer expired",
    "Profiling timer expired",
    "Window changed",
    "I/O possible",
    "Power failure",
    "Bad system call",
];

/// What a signal is called; `None` for those that have numbers only.
#[must_use]
pub fn text(signal: i32) -> Option<&'static str> {
    TEXTS.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

/// The signal that is called so.
#[must_use]
pub fn number(text: &str) -> Option<u8> {
    (1..).zip(TEXTS).find_map(|(number, known)| (known == text).then_some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_by_what_it_is_called() {
        for signal in 1..=31_u8 {
            let text = text(signal.into()).unwrap();
            assert_eq!(number(text), Some(signal), "{text}");
        }
        assert_eq!((text(9), text(15)), (Some("Killed"), Some("Terminated")));
        assert_eq!((text(0), text(32), text(-1), number("")), (None, None, None, None));
    }
}
