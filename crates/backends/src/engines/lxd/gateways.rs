//! The gateways of networks, remembered for a moment: whoever looks at many containers, or again and again at one, asks for the same
//! ones, and a network takes its server twice as long to show as an instance.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::shared::Lxd;
use super::surroundings;

/// An answer may be as old as this. One that is changed meanwhile, which nobody is told, is shown as it was for so long.
const FRESH: Duration = Duration::from_secs(2);

/// What is remembered; networks without a gateway, too.
#[derive(Debug, Default)]
pub(super) struct Gateways(Mutex<HashMap<String, (Instant, Option<Ipv4Addr>)>>);

impl Gateways {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Option<Ipv4Addr>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, network: &str) -> Option<Option<Ipv4Addr>> {
        self.lock().get(network).filter(|(asked, _)| asked.elapsed() < FRESH).map(|(_, gateway)| *gateway)
    }

    fn note(&self, network: &str, gateway: Option<Ipv4Addr>, asked: Instant) {
        let mut known = self.lock();
        known.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        known.insert(network.to_owned(), (asked, gateway));
    }

    /// It was changed.
    pub(super) fn forget(&self, network: &str) {
        self.lock().remove(network);
    }
}

/// The gateway of a network, where the server gives out addresses on it and shows it to us.
pub(super) async fn gateway(lxd: &Lxd, network: &str) -> Option<IpAddr> {
    if let Some(known) = lxd.gateways.known(network) {
        return known.map(IpAddr::from);
    }
    let asked = Instant::now();
    let joined = surroundings::joined(lxd, network).await.ok()?;
    let gateway = joined.and_then(|joined| joined.gateway).map(|(address, _)| address);
    lxd.gateways.note(network, gateway, asked);
    gateway.map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_known_for_a_moment() {
        let gateways = Gateways::default();
        let address = Some(Ipv4Addr::new(10, 0, 0, 1));
        gateways.note("a", address, Instant::now());
        gateways.note("b", None, Instant::now());
        assert_eq!((gateways.known("a"), gateways.known("b"), gateways.known("c")), (Some(address), Some(None), None));
        gateways.forget("a");
        assert_eq!(gateways.known("a"), None);
        tokio::time::advance(FRESH).await;
        assert_eq!(gateways.known("b"), None);
        gateways.note("a", address, Instant::now());
        assert_eq!(gateways.lock().len(), 1);
    }
}
