//! How often one address may call.

use governor::{Quota, RateLimiter, clock::Clock as _, clock::DefaultClock, state::keyed::HashMapStateStore};
use serde::Deserialize;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// Addresses that are counted one by one; above that, new ones share one allowance.
const ADDRESSES_MAX: usize = 65_536;

/// Limits on calls from one address. Services of the market with a certificate are not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Calls a second that an address may make in the long run; 0 for no limit.
    pub calls_per_s_max: u32,
    /// Calls that it may make at once.
    pub burst_max: u32,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self { calls_per_s_max: 100, burst_max: 400 }
    }
}

/// Counts calls by address: a token bucket (GCRA) each, in bounded memory.
pub(crate) struct Rates {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    addresses_max: usize,
}

impl Rates {
    /// `None` when nothing is limited.
    pub(crate) fn new(config: RateConfig) -> Option<Self> {
        Self::with_addresses_max(config, ADDRESSES_MAX)
    }

    fn with_addresses_max(config: RateConfig, addresses_max: usize) -> Option<Self> {
        let per_second = NonZeroU32::new(config.calls_per_s_max)?;
        let burst = NonZeroU32::new(config.burst_max).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Some(Self { limiter: RateLimiter::hashmap(quota), addresses_max })
    }

    /// Counts a call.
    ///
    /// # Errors
    /// How long to wait, when the address has used up its allowance.
    pub(crate) fn count(&self, address: IpAddr) -> Result<(), Duration> {
        if self.limiter.len() >= self.addresses_max {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let key = if self.limiter.len() >= self.addresses_max { Ipv4Addr::UNSPECIFIED.into() } else { bucket(address) };
        let now = self.limiter.clock().now();
        self.limiter.check_key(&key).map_err(|refused| refused.wait_time_from(now))
    }
}

/// Whoever has an IPv6 address has its whole /64.
fn bucket(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn an_address_may_burst_and_then_waits_while_others_go_on() {
        let rates = Rates::new(RateConfig { calls_per_s_max: 1, burst_max: 3 }).expect("limited");
        for _ in 0..3 {
            assert_eq!(rates.count(address(1)), Ok(()));
        }
        let wait = rates.count(address(1)).expect_err("used up");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(rates.count(address(2)), Ok(()));
        assert!(Rates::new(RateConfig { calls_per_s_max: 0, burst_max: 3 }).is_none());
    }

    #[test]
    fn one_ipv6_network_is_one_caller() {
        let rates = Rates::new(RateConfig { calls_per_s_max: 1, burst_max: 1 }).expect("limited");
        assert_eq!(rates.count("2001:db8::1".parse().expect("an address")), Ok(()));
        assert!(rates.count("2001:db8::2".parse().expect("an address")).is_err());
        assert_eq!(rates.count("2001:db8:0:1::1".parse().expect("an address")), Ok(()));
        assert_eq!(bucket("::ffff:10.0.0.1".parse().expect("an address")), address(1));
    }

    #[test]
    fn memory_stays_bounded_when_addresses_are_many() {
        let rates = Rates::with_addresses_max(RateConfig { calls_per_s_max: 1, burst_max: 5 }, 8).expect("limited");
        let counted = (0..200).filter(|last| rates.count(address(*last)).is_ok()).count();
        // Eight of their own, and one allowance for all the rest.
        assert_eq!(counted, 8 + 5);
        assert!(rates.limiter.len() <= 9);
    }
}
