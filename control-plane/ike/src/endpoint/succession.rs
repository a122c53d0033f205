//! IKE SAs that take the place of others (RFC 7296 section 2.8).

use super::*;
use crate::v2::rekey_ike::Succession;

impl Endpoint {
    /// Carries out what an IKE SA has decided about itself and its heirs.
    pub(super) fn succeed(&mut self, now: Instant, random: &mut dyn Random) {
        while let Some(succession) = self.shared.successions.pop_front() {
            match succession {
                Succession::Born(sa) => {
                    let id = sa.core.id;
                    self.shared.by_spi.extend(sa.core.own_spi().map(|spi| (spi, id)));
                    self.put(*sa);
                    self.with(now, random, id, IkeSa::go_on);
                }
                Succession::Inherits { heir, estate } => {
                    self.shared.children.extend(estate.children().map(|child| (child.id, heir)));
                    self.with(now, random, heir, |sa, cx| sa.inherit(cx, estate));
                }
                Succession::Redundant { id, heir } => self.with(now, random, id, |sa, cx| sa.made_in_vain(cx, heir)),
            }
        }
    }
}
