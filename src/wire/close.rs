//! Close codes: one table of what the server says when it ends a socket, as docs/protocol.md section 7 has it.
//!
//! Nothing here decides when a socket is closed; it only names the codes and what a client may conclude from them.

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comeback {
    /// Come back at once, or after `bye.delay`, and resume.
    Resume,
    /// Come back after `bye.delay`.
    Later,
    /// Do not come back without the user's doing.
    Never,
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $comeback:ident;)*) => {
        /// Why the server ends a socket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$doc])* $variant = $code,)*
        }

        impl CloseCode {
            /// Every code, in the order of the document.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that stands in `bye.reason`, in metrics and in the close frame's reason.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the client should do next.
            #[must_use]
            pub const fn comeback(self) -> Comeback {
                match self { $(Self::$variant => Comeback::$comeback,)* }
            }
        }
    };
}

close_codes! {
    /// The client closed, and it is answered.
    Normal = 1000, "normal", Never;
    /// Broken framing.
    Protocol = 1002, "protocol_error", Never;
    /// A binary frame.
    Unsupported = 1003, "unsupported", Never;
    /// Text that is not UTF-8.
    BadText = 1007, "bad_text", Never;
    /// A message beyond the limit.
    TooBig = 1009, "too_big", Never;
    /// A defect of the server.
    Internal = 1011, "internal", Later;
    /// The server stops or restarts.
    GoingAway = 4000, "going_away", Resume;
    /// Nothing was taken for too long while something waited.
    TooSlow = 4001, "too_slow", Resume;
    /// No pong and nothing else for too long.
    NoAnswer = 4002, "no_answer", Resume;
    /// The server has no room for this connection now.
    Overloaded = 4100, "overloaded", Later;
    /// The sessions were lost; log in again.
    SessionsLost = 4101, "sessions_lost", Later;
    /// This session was ended.
    LoggedOut = 4200, "logged_out", Never;
    /// This session's life is over.
    SessionExpired = 4201, "session_expired", Never;
    /// The account was disabled.
    AccountDisabled = 4202, "account_disabled", Never;
    /// Thrown out of the room of a one-room socket.
    Kicked = 4203, "kicked", Never;
    /// Banned from the room of a one-room socket.
    Banned = 4204, "banned", Never;
    /// No subprotocol that the server speaks.
    ClientTooOld = 4205, "client_too_old", Never;
    /// The password was changed elsewhere.
    PasswordChanged = 4206, "password_changed", Never;
    /// The room of a one-room socket was deleted.
    RoomGone = 4207, "room_gone", Never;
    /// The membership of a one-room socket ended.
    Left = 4208, "left", Never;
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Whether `bye.resume` is true: the client may come back by itself.
    #[must_use]
    pub const fn resume(self) -> bool {
        !matches!(self.comeback(), Comeback::Never)
    }
}

/// Whether a peer may put this code into a close frame (RFC 6455 section 7.4 and the registry it opened): 1004 to 1006
/// and 1015 are reserved and never travel, what is below 1000, unassigned or from 5000 on has no meaning.
#[must_use]
pub const fn may_be_received(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_documents() {
        let document = include_str!("../../docs/protocol.md");
        let section = document.split("## 7. Close codes").nth(1).expect("section 7");
        let section = section.split("\n## ").next().expect("its end");
        let mut listed = Vec::new();
        for row in section.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            if let Ok(code) = cells[1].parse::<u16>() {
                listed.push((code, cells[2].replace(' ', "_")));
            }
        }
        let ours: Vec<_> = CloseCode::ALL.iter().map(|c| (c.code(), c.name().to_owned())).collect();
        assert_eq!(listed, ours);
    }

    #[test]
    fn ranges_have_their_meaning() {
        for code in CloseCode::ALL {
            let expected = match code.code() {
                4000..=4099 => Comeback::Resume,
                4100..=4199 | 1011 => Comeback::Later,
                _ => Comeback::Never,
            };
            assert_eq!(code.comeback(), expected, "{code:?}");
            assert!(may_be_received(code.code()), "{code:?}");
        }
    }

    #[test]
    fn reserved_codes_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
            assert!(!may_be_received(code), "{code}");
        }
    }
}
