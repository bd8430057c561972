//! The fields of headers: ids, numbers, names, there and back.

use bytes::{Buf as _, BufMut as _, BytesMut};

use super::InvalidEnvelope;
use crate::model::{Author, EventId, Name, UserId};

pub(super) fn put_author(header: &mut BytesMut, author: &Author) {
    let name = author.name.as_str().as_bytes();
    header.put_slice(author.id.as_bytes());
    // Names hold at most 32 bytes.
    header.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    header.put_slice(name);
}

pub(super) fn take_author(header: &mut &[u8]) -> Result<Author, InvalidEnvelope> {
    let id = UserId::from_bytes(take_16(header)?);
    let length = usize::from(header.try_get_u8().map_err(|_| InvalidEnvelope::Short)?);
    let name = header.get(..length).ok_or(InvalidEnvelope::Short)?;
    let name = std::str::from_utf8(name).ok().and_then(|name| Name::parse(name).ok());
    header.advance(length);
    name.map(|name| Author { id, name })
        .ok_or(InvalidEnvelope::Field("author"))
}

/// The id of what is answered, after a byte that says whether there is one.
pub(super) fn put_cause(header: &mut BytesMut, cause: Option<EventId>) {
    header.put_u8(u8::from(cause.is_some()));
    if let Some(cause) = cause {
        header.put_slice(cause.as_bytes());
    }
}

/// Builds before this field wrote none.
pub(super) fn take_cause(header: &mut &[u8]) -> Result<Option<EventId>, InvalidEnvelope> {
    match header.try_get_u8() {
        Ok(1) => take_event_id(header).map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

pub(super) fn take_16(from: &mut &[u8]) -> Result<[u8; 16], InvalidEnvelope> {
    let mut bytes = [0; 16];
    from.try_copy_to_slice(&mut bytes).map_err(|_| InvalidEnvelope::Short)?;
    Ok(bytes)
}

pub(super) fn take_u64(from: &mut &[u8]) -> Result<u64, InvalidEnvelope> {
    from.try_get_u64().map_err(|_| InvalidEnvelope::Short)
}

pub(super) fn take_event_id(from: &mut &[u8]) -> Result<EventId, InvalidEnvelope> {
    let id = EventId::from_bytes(take_16(from)?);
    // The one rule for event ids is that of their text: version 7, the usual variant.
    let expected = EventId::new(id.timestamp().millis(), id.counter(), id.attempt_hash());
    (id == expected).then_some(id).ok_or(InvalidEnvelope::Field("event id"))
}
