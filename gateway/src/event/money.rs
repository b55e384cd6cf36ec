//! Money: whole minor units and an ISO 4217 currency inside, decimal text at the edges. Never a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ISO 4217 alphabetic currency code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Currencies whose minor unit is not a hundredth (ISO 4217 table A.1), with its number of decimals.
const EXPONENTS: [(&[u8; 3], u32); 24] = [
    (b"BHD", 3),
    (b"BIF", 0),
    (b"CLF", 4),
    (b"CLP", 0),
    (b"DJF", 0),
    (b"GNF", 0),
    (b"IQD", 3),
    (b"ISK", 0),
    (b"JOD", 3),
    (b"JPY", 0),
    (b"KMF", 0),
    (b"KRW", 0),
    (b"KWD", 3),
    (b"LYD", 3),
    (b"OMR", 3),
    (b"PYG", 0),
    (b"RWF", 0),
    (b"TND", 3),
    (b"UGX", 0),
    (b"UYI", 0),
    (b"VND", 0),
    (b"VUV", 0),
    (b"XAF", 0),
    (b"XOF", 0),
];

impl Currency {
    /// Number of decimals of the minor unit: 2 for EUR, 0 for JPY.
    pub fn decimals(self) -> u32 {
        EXPONENTS.iter().find(|row| *row.0 == self.0).map_or(2, |row| row.1)
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Currency(code)),
            _ => Err(MoneyError::Currency(text.chars().take(16).collect())),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The currency is not three capital letters.
    #[error("`{0}` is no ISO 4217 currency code")]
    Currency(String),
    /// The amount is no decimal number.
    #[error("`{0}` is no decimal amount")]
    Amount(String),
    /// The amount does not fit 64-bit minor units.
    #[error("the amount is too large")]
    Range,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    /// Amount in the currency's minor unit (cents).
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Reads a decimal text such as `120.00`; more decimals than the currency has are rounded half up (away from zero).
    pub fn parse(value: &str, currency: Currency) -> Result<Money, MoneyError> {
        let amount = || MoneyError::Amount(value.chars().take(32).collect());
        let decimal = Decimal::from_str_exact(value).map_err(|_| amount())?;
        let decimals = currency.decimals();
        let scaled = decimal
            .round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero)
            .checked_mul(Decimal::from(10_u64.pow(decimals)))
            .ok_or(MoneyError::Range)?;
        let minor = i64::try_from(scaled.trunc()).map_err(|_| MoneyError::Range)?;
        Ok(Money { minor, currency })
    }
}

/// The amount alone, with the currency's decimals: `120.00`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::new(self.minor, self.currency.decimals()).fmt(f)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    value: String,
    currency: String,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire { value: self.to_string(), currency: self.currency.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let currency = wire.currency.parse().map_err(serde::de::Error::custom)?;
        Money::parse(&wire.value, currency).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(value: &str, currency: &str) -> Result<Money, MoneyError> {
        Money::parse(value, currency.parse()?)
    }

    #[test]
    fn text_and_minor_units_agree() {
        for (value, currency, minor, printed) in [
            ("120.00", "EUR", 12_000, "120.00"),
            ("0.005", "EUR", 1, "0.01"),
            ("-0.005", "EUR", -1, "-0.01"),
            ("1500", "JPY", 1_500, "1500"),
            ("1.2345", "KWD", 1_235, "1.235"),
        ] {
            let money = money(value, currency).expect(value);
            assert_eq!((money.minor, money.to_string().as_str()), (minor, printed));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(money("12.0O", "EUR"), Err(MoneyError::Amount(_))));
        assert!(matches!(money("1", "euro"), Err(MoneyError::Currency(_))));
        assert_eq!(money("99999999999999999999", "EUR"), Err(MoneyError::Range));
    }
}
