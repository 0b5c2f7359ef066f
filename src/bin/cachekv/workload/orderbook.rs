//! The order book: an order walks the price levels of the other side, best first, takes what it crosses, deletes the
//! levels it empties, and leaves its rest as a level. Ranges, deletes, and phantoms wherever a level appears.

use super::draw::Draw;
use super::{Fault, Labour, Receipt, View, number, parse};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;

/// Accounts to a market: more accounts, more markets, fewer conflicts.
const ACCOUNTS_PER_MARKET: u64 = 100;
/// Prices orders are drawn around, and how far from it.
const MIDDLE: u64 = 1_000;
const SPREAD: u64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum Side {
    /// Wants to buy: takes asks, and waits among the bids.
    Buy,
    /// Wants to sell: takes bids, and waits among the asks.
    Sell,
}

/// Wants `quantity` at `limit` or better.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Order {
    market: u64,
    side: Side,
    limit: u64,
    quantity: u64,
}

const ASK: u8 = b'A';
const BID: u8 = b'B';

fn key(market: u64, side: u8, price: u64) -> Bytes {
    let head = std::iter::once(b'o').chain(market.to_be_bytes());
    head.chain([side]).chain(price.to_be_bytes()).collect()
}

/// Market, side and price.
fn split(key: &[u8]) -> Option<(u64, u8, u64)> {
    let (market, rest) = key.strip_prefix(b"o")?.split_first_chunk()?;
    let (side, price) = rest.split_first()?;
    Some((u64::from_be_bytes(*market), *side, u64::from_be_bytes(price.try_into().ok()?)))
}

pub(super) fn name(key: &[u8]) -> Option<String> {
    let (market, side, price) = split(key)?;
    Some(format!("market {market} {} {price}", if side == ASK { "ask" } else { "bid" }))
}

fn markets(accounts: u64) -> u64 {
    accounts.div_ceil(ACCOUNTS_PER_MARKET)
}

/// What an order does to one level.
struct Take {
    level: Bytes,
    price: u64,
    quantity: u64,
    left: u64,
}

impl Order {
    pub(super) fn draw(draw: &mut Draw, accounts: u64) -> Self {
        let market = draw.below(markets(accounts));
        let side = if draw.below(2) == 0 { Side::Buy } else { Side::Sell };
        let limit = MIDDLE - SPREAD + draw.below(2 * SPREAD + 1);
        Self { market, side, limit, quantity: 1 + draw.below(100) }
    }

    /// Every level that it may take or leave: it reads none beyond these.
    pub(super) fn keys(&self) -> Vec<Bytes> {
        let (other, own, prices) = match self.side {
            Side::Buy => (ASK, BID, MIDDLE - SPREAD..=self.limit),
            Side::Sell => (BID, ASK, self.limit..=MIDDLE + SPREAD),
        };
        let taken = prices.map(|price| key(self.market, other, price));
        taken.chain([key(self.market, own, self.limit)]).collect()
    }

    pub(super) fn execute(&self, labour: &Labour, view: &View<'_>) -> Result<Receipt, Fault> {
        let (takes, rest) = self.cross(view)?;
        labour.perform(view)?;
        let (mut taken, mut cost) = (0u64, 0u64);
        for take in takes {
            taken = taken.saturating_add(take.quantity);
            cost = cost.saturating_add(take.quantity.saturating_mul(take.price));
            match take.left {
                0 => view.delete(take.level),
                left => view.set(take.level, number(left)),
            }
        }
        if rest > 0 {
            let side = if self.side == Side::Buy { BID } else { ASK };
            // A write and no read: orders that rest at one price are not in each other's way.
            view.merge(key(self.market, side, self.limit), rest)?;
        }
        Ok(Receipt::Traded { taken, cost, rest })
    }

    /// What the order takes, level after level, and what is left of it then. Walks no further than it must.
    fn cross(&self, view: &View<'_>) -> Result<(Vec<Take>, u64), Fault> {
        let mut levels = match self.side {
            Side::Buy => view.range(key(self.market, ASK, 0)..=key(self.market, ASK, self.limit)),
            Side::Sell => view.range(key(self.market, BID, self.limit)..=key(self.market, BID, u64::MAX)),
        };
        let mut takes = Vec::new();
        let mut rest = self.quantity;
        while rest > 0 {
            let best = match self.side {
                Side::Buy => levels.next(),
                Side::Sell => levels.next_back(),
            };
            let Some((level, waiting)) = best.transpose()? else { break };
            let waiting = parse(&level, &waiting)?;
            let (_, _, price) = split(&level).ok_or_else(|| Fault::Malformed(level.clone()))?;
            let quantity = waiting.min(rest);
            rest -= quantity;
            takes.push(Take { level, price, quantity, left: waiting - quantity });
        }
        Ok((takes, rest))
    }
}

/// A book with some depth on both sides.
pub(super) fn genesis(accounts: u64, put: &mut impl FnMut(Bytes, u64)) {
    for market in 0..markets(accounts) {
        for away in 1..=SPREAD {
            put(key(market, ASK, MIDDLE + away), 10 * away);
            put(key(market, BID, MIDDLE - away), 10 * away);
        }
    }
}

/// What must hold: quantities are positive, and in each market the best bid is below the best ask.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// The market that was seen last, and its lowest ask: asks sort before bids.
    best_ask: Option<(u64, u64)>,
}

impl Books {
    pub(super) fn see(&mut self, level: &[u8], quantity: u64) -> Result<(), String> {
        let (market, side, price) = split(level).ok_or_else(|| format!("{} is no level", super::name_key(level)))?;
        if quantity == 0 {
            return Err(format!("market {market} has an empty level at {price}"));
        }
        let ask = self.best_ask.filter(|(of, _)| *of == market).map(|(_, ask)| ask);
        match side {
            ASK => self.best_ask = self.best_ask.filter(|_| ask.is_some()).or(Some((market, price))),
            _ if ask.is_some_and(|ask| ask <= price) => {
                return Err(format!("market {market} is crossed: a bid of {price} and an ask of {ask:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_named_and_sorts_by_price() {
        assert_eq!(name(&key(3, ASK, 77)).unwrap(), "market 3 ask 77");
        assert_eq!(name(b"o"), None);
        assert!(
            key(3, ASK, 77) < key(3, ASK, 256) && key(3, ASK, 256) < key(3, BID, 1) && key(3, BID, 1) < key(4, ASK, 0)
        );
    }

    #[test]
    fn crossed_books_and_empty_levels_are_found() {
        let verdict = |levels: &[(u64, u8, u64, u64)]| {
            let mut books = Books::default();
            levels
                .iter()
                .try_for_each(|(market, side, price, quantity)| books.see(&key(*market, *side, *price), *quantity))
        };
        assert_eq!(verdict(&[(1, ASK, 11, 1), (1, ASK, 12, 1), (1, BID, 10, 1), (2, BID, 50, 1)]), Ok(()));
        assert!(verdict(&[(1, ASK, 11, 1), (1, ASK, 12, 1), (1, BID, 11, 1)]).unwrap_err().contains("crossed"));
        assert!(verdict(&[(1, ASK, 11, 0)]).unwrap_err().contains("empty"));
    }
}
