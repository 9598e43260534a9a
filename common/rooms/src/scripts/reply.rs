//! Reads values from a script's reply.

use redis::Value;
use switchboard_core::domain::{Generation, PeerId};
use switchboard_core::wire::LogId;

use crate::StoreError;
use crate::values::text;

/// The seat that join or attach gave: the first three values of their replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenSeat {
    /// Peer id.
    pub peer: PeerId,
    /// Generation.
    pub generation: Generation,
    /// Log id after which the session's delivery starts.
    pub id: LogId,
}

/// Reply of a script: a status word, and the values that belong to it.
#[derive(Debug)]
pub struct Reply(Vec<Value>);

impl Reply {
    /// Takes the reply from the replies to one request: the last reply.
    ///
    /// # Errors
    /// `Unexpected`, if that is not a reply of a script.
    pub fn from_answers(answers: Vec<Value>) -> Result<Self, StoreError> {
        match answers.into_iter().next_back() {
            Some(Value::Array(values)) if !values.is_empty() => Ok(Self(values)),
            _ => Err(StoreError::expected("a script's reply")),
        }
    }

    /// Returns the status word.
    #[must_use]
    pub fn status(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// Returns the error for a status word that the caller does not know.
    #[must_use]
    pub fn unknown(&self) -> StoreError {
        StoreError::Unexpected(format!("unknown status {:?}", self.status()))
    }

    /// Returns the seat that join or attach gave, if they gave one.
    pub(crate) fn given_seat(&self) -> Result<Option<GivenSeat>, StoreError> {
        match self.status() {
            "OK" | "BACK" | "WAITING" => {
                Ok(Some(GivenSeat { peer: self.peer(1)?, generation: self.number(2)?, id: self.id(3)? }))
            }
            _ => Ok(None),
        }
    }

    /// Returns whether join gave the user's own seat, which was there before.
    pub(crate) fn gives_own_seat(&self) -> bool {
        self.status() == "BACK"
    }

    /// Reads a reply that consists of several replies.
    pub(super) fn each<T>(&self, read: impl Fn(&Self) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        let replies = self.0.iter().map(|value| read(&Self::from_answers(vec![value.clone()])?));
        replies.collect()
    }

    /// Returns the text at an index.
    ///
    /// # Errors
    /// `Unexpected`, if there is none. The same holds for the other readers.
    pub fn text(&self, index: usize) -> Result<&str, StoreError> {
        self.0.get(index).and_then(text).ok_or_else(|| StoreError::expected("a text"))
    }

    /// Returns the log id at an index.
    pub(super) fn id(&self, index: usize) -> Result<LogId, StoreError> {
        LogId::parse(self.text(index)?).ok_or_else(|| StoreError::expected("a log id"))
    }

    /// Returns the peer id at an index.
    pub(super) fn peer(&self, index: usize) -> Result<PeerId, StoreError> {
        PeerId::parse(self.text(index)?).map_err(|_| StoreError::expected("a peer id"))
    }

    /// Returns the peer ids from an index on.
    pub(super) fn peers_from(&self, start: usize) -> Result<Vec<PeerId>, StoreError> {
        (start..self.0.len()).map(|index| self.peer(index)).collect()
    }

    /// Returns the number at an index, written as an integer or as text.
    pub(super) fn number(&self, index: usize) -> Result<u64, StoreError> {
        match self.0.get(index) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            Some(value) => text(value).and_then(|text| text.parse().ok()),
            None => None,
        }
        .ok_or_else(|| StoreError::expected("a number"))
    }

    /// Returns the texts from an index on, in pairs.
    pub(super) fn pairs_from(&self, start: usize) -> Result<Vec<(&str, &str)>, StoreError> {
        (start..self.0.len()).step_by(2).map(|index| Ok((self.text(index)?, self.text(index + 1)?))).collect()
    }
}
