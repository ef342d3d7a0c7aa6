//! Which addresses a name stands for, once and for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses each name was resolved to, first answer only: whoever controls a name cannot make it
/// stand for another address later in the life of an instance (DNS rebinding).
#[derive(Default)]
pub(super) struct Pins {
    addresses: HashMap<Arc<str>, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Arc<str>>>,
}

impl Pins {
    /// How many names are remembered; beyond these none is resolved.
    pub(super) const MOST_NAMES: usize = 1024;
    /// How many addresses of one name are remembered; further ones are left out of the answer.
    pub(super) const MOST_ADDRESSES: usize = 64;

    /// The addresses of a name that was resolved before.
    pub(super) fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        self.addresses.get(name).map(Vec::as_slice)
    }

    /// The names that stand for an address, in the order they were resolved.
    pub(super) fn names(&self, ip: IpAddr) -> impl DoubleEndedIterator<Item = &str> {
        self.names.get(&ip).into_iter().flatten().map(|name| &**name)
    }

    /// Whether no further name can be pinned.
    pub(super) fn is_full(&self) -> bool {
        self.addresses.len() >= Self::MOST_NAMES
    }

    /// Pins a name to addresses unless it is pinned already, and says to which it is. `None` when
    /// there is no room for it.
    pub(super) fn pin(&mut self, name: &str, mut addresses: Vec<IpAddr>) -> Option<&[IpAddr]> {
        if !self.addresses.contains_key(name) {
            if self.is_full() {
                return None;
            }
            addresses.truncate(Self::MOST_ADDRESSES);
            let name: Arc<str> = name.into();
            for &ip in &addresses {
                self.names.entry(ip).or_default().push(Arc::clone(&name));
            }
            self.addresses.insert(name, addresses);
        }
        self.addresses(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_first_answer_holds() {
        let mut pins = Pins::default();
        assert_eq!(pins.pin("a.example", vec![ip(1), ip(2)]), Some(&[ip(1), ip(2)][..]));
        assert_eq!(pins.pin("a.example", vec![ip(9)]), Some(&[ip(1), ip(2)][..]));
        assert_eq!(pins.names(ip(9)).count(), 0);
    }

    #[test]
    fn an_address_knows_all_its_names() {
        let mut pins = Pins::default();
        pins.pin("a.example", vec![ip(1)]);
        pins.pin("b.example", vec![ip(1), ip(2)]);
        assert_eq!(pins.names(ip(1)).collect::<Vec<_>>(), ["a.example", "b.example"]);
        assert_eq!(pins.names(ip(2)).collect::<Vec<_>>(), ["b.example"]);
    }

    #[test]
    fn there_is_room_for_so_many_names_and_addresses() {
        let mut pins = Pins::default();
        let many: Vec<IpAddr> = (0..=255).map(ip).collect();
        assert_eq!(pins.pin("many.example", many).map(<[_]>::len), Some(Pins::MOST_ADDRESSES));
        for number in 1..Pins::MOST_NAMES {
            assert!(pins.pin(&format!("{number}.example"), vec![ip(1)]).is_some());
        }
        assert!(pins.is_full());
        assert_eq!(pins.pin("one-more.example", vec![ip(1)]), None);
        assert!(pins.pin("many.example", vec![]).is_some(), "a pinned name stays");
    }
}
