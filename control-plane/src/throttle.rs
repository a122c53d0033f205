//! A bound on what strangers can have said about them.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant as Clock;

/// Lets so many of a name through each second, so that a flood of one does not hide the others.
#[derive(Debug)]
pub(crate) struct Throttle {
    most: u32,
    windows: HashMap<String, Window>,
}

/// A second, and what happened in it.
#[derive(Debug)]
struct Window {
    begin: Clock,
    passed: u32,
    held: u64,
}

impl Throttle {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, windows: HashMap::new() }
    }

    /// How many were held back since the last one that passed; `None` holds this one back too. There may only be few names.
    pub(crate) fn pass(&mut self, name: &str, now: Clock) -> Option<u64> {
        if !self.windows.contains_key(name) {
            self.windows.insert(name.to_owned(), Window { begin: now, passed: 0, held: 0 });
        }
        let window = self.windows.get_mut(name)?;
        if now.duration_since(window.begin) >= Duration::from_secs(1) {
            window.begin = now;
            window.passed = 0;
        }
        if window.passed >= self.most {
            window.held += 1;
            return None;
        }
        window.passed += 1;
        Some(std::mem::take(&mut window.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_pass_in_a_second_and_the_others_are_counted() {
        let (begin, mut throttle) = (Clock::now(), Throttle::new(3));
        let passed: Vec<_> = (0..5).map(|_| throttle.pass("a", begin)).collect();
        assert_eq!(passed, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(throttle.pass("b", begin), Some(0), "a flood of one hides no other");
        assert_eq!(throttle.pass("a", begin + Duration::from_millis(999)), None);
        assert_eq!(throttle.pass("a", begin + Duration::from_secs(1)), Some(3));
        assert_eq!(throttle.pass("a", begin + Duration::from_secs(1)), Some(0));
    }
}
