//! Networks that lose what is sent, and whether the two get over it.

use std::time::Duration;

use super::Pair;
use super::Side::{A, B};

impl Pair {
    /// Goes on until the message of this number, from zero on, is sent. Nothing arrives at its receiver from then on for `time`; afterwards there is to be one
    /// IKE SA with one Child SA, as if nothing had been.
    pub fn gets_over_the_loss_of(&mut self, message: usize, time: Duration) {
        let mut seen = 0;
        while self.sent.len() <= message {
            assert!(self.step());
            seen += 1;
            assert!(seen < 100);
        }
        self.deaf = Some(self.sent[message].from.other());
        self.run(time);
        self.deaf = None;
        self.run(Duration::from_secs(30));
        assert_eq!(self.assert_mirrored(), 1, "message {}", message + 1);
        assert_eq!((self.established(A), self.established(B)), (1, 1));
        assert!(self.ping(A) && self.ping(B));
    }

    /// Goes on until pings cross both ways: five minutes at most. The seed is for whoever reads why they do not.
    pub fn comes_up(&mut self, seed: u64) {
        let mut waited = 0;
        while !(self.installed(A) > 0 && self.installed(B) > 0 && self.ping(A) && self.ping(B)) {
            self.run(Duration::from_secs(5));
            waited += 1;
            assert!(waited < 60, "seed {seed}: nothing after 300 s: {:?} {:?}", self.failures(A), self.failures(B));
        }
    }
}
