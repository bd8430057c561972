//! The permission matrix: who x what x kind of room. Sockets and HTTP ask here and nowhere else.
//!
//! A private room that one is not in does not exist for one (`NotFound`); a ban says so (`Banned`).

use super::room::{Role, RoomKind, Standing};

/// What somebody wants to do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Know that it exists, its name and title.
    See,
    /// Read its history and who is in it.
    Read,
    /// Become a member, or open it as one.
    Join,
    /// Send a message, or show that one types.
    Send,
    /// Edit or delete a message of one's own.
    ChangeOwn,
    /// Delete somebody else's message.
    DeleteOthers,
    /// Make somebody a member.
    Invite,
    /// End somebody else's membership.
    Kick,
    /// Ban somebody, lift a ban, see the bans.
    Ban,
    /// Change somebody's role.
    ChangeRole,
    /// Change title or visibility.
    Configure,
    /// End one's own membership.
    Leave,
}

impl Action {
    /// All of them, for the test of each cell.
    pub const ALL: [Self; 12] = [
        Self::See,
        Self::Read,
        Self::Join,
        Self::Send,
        Self::ChangeOwn,
        Self::DeleteOthers,
        Self::Invite,
        Self::Kick,
        Self::Ban,
        Self::ChangeRole,
        Self::Configure,
        Self::Leave,
    ];
}

/// The matrix' answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// They may.
    Allow,
    /// They may not, and may know it.
    Forbidden,
    /// They are banned.
    Banned,
    /// For them the room does not exist.
    NotFound,
}

/// May somebody of this standing do this in a room of this kind?
#[must_use]
pub const fn verdict(action: Action, kind: RoomKind, standing: Standing) -> Verdict {
    let role = match (standing, kind) {
        (Standing::Banned, _) => return Verdict::Banned,
        (Standing::Outsider, RoomKind::Private | RoomKind::Direct) => return Verdict::NotFound,
        (Standing::Outsider, RoomKind::Public) => {
            return match action {
                Action::See | Action::Read | Action::Join => Verdict::Allow,
                _ => Verdict::Forbidden,
            };
        }
        (Standing::Member(role), _) => role,
    };
    let allowed = match action {
        Action::See | Action::Read | Action::Join | Action::Send | Action::ChangeOwn => true,
        // A direct conversation belongs to both alike: nobody is invited, thrown out or leaves.
        Action::DeleteOthers
        | Action::Invite
        | Action::Kick
        | Action::Ban
        | Action::ChangeRole
        | Action::Configure
        | Action::Leave
            if matches!(kind, RoomKind::Direct) =>
        {
            false
        }
        Action::Leave => true,
        Action::Invite => matches!(kind, RoomKind::Public) || !matches!(role, Role::Member),
        Action::DeleteOthers | Action::Kick | Action::Ban => !matches!(role, Role::Member),
        Action::ChangeRole | Action::Configure => matches!(role, Role::Owner),
    };
    if allowed { Verdict::Allow } else { Verdict::Forbidden }
}

/// May somebody of role `actor` kick, ban or change somebody who stands so? Nobody acts on an owner or an equal.
#[must_use]
pub fn outranks(actor: Role, target: Standing) -> bool {
    target.role().is_none_or(|role| actor > role)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDINGS: [Standing; 5] = [
        Standing::Outsider,
        Standing::Banned,
        Standing::Member(Role::Member),
        Standing::Member(Role::Moderator),
        Standing::Member(Role::Owner),
    ];

    /// One row per action; per kind of room one letter for outsider, banned, member, moderator, owner:
    /// `y` allowed, `n` forbidden, `b` banned, `-` not found.
    #[test]
    fn every_cell_of_the_matrix() {
        let table = [
            (Action::See, "ybyyy", "-byyy", "-byyy"),
            (Action::Read, "ybyyy", "-byyy", "-byyy"),
            (Action::Join, "ybyyy", "-byyy", "-byyy"),
            (Action::Send, "nbyyy", "-byyy", "-byyy"),
            (Action::ChangeOwn, "nbyyy", "-byyy", "-byyy"),
            (Action::DeleteOthers, "nbnyy", "-bnyy", "-bnnn"),
            (Action::Invite, "nbyyy", "-bnyy", "-bnnn"),
            (Action::Kick, "nbnyy", "-bnyy", "-bnnn"),
            (Action::Ban, "nbnyy", "-bnyy", "-bnnn"),
            (Action::ChangeRole, "nbnny", "-bnny", "-bnnn"),
            (Action::Configure, "nbnny", "-bnny", "-bnnn"),
            (Action::Leave, "nbyyy", "-byyy", "-bnnn"),
        ];
        assert_eq!(table.map(|row| row.0), Action::ALL);
        for (action, public, private, direct) in table {
            for (kind, row) in [
                (RoomKind::Public, public),
                (RoomKind::Private, private),
                (RoomKind::Direct, direct),
            ] {
                for (standing, expected) in STANDINGS.into_iter().zip(row.chars()) {
                    let expected = match expected {
                        'y' => Verdict::Allow,
                        'n' => Verdict::Forbidden,
                        'b' => Verdict::Banned,
                        _ => Verdict::NotFound,
                    };
                    assert_eq!(
                        verdict(action, kind, standing),
                        expected,
                        "{action:?} {kind:?} {standing:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nobody_acts_on_an_owner_or_an_equal() {
        assert!(outranks(Role::Owner, Standing::Member(Role::Moderator)));
        assert!(outranks(Role::Moderator, Standing::Member(Role::Member)));
        assert!(outranks(Role::Moderator, Standing::Outsider));
        assert!(!outranks(Role::Moderator, Standing::Member(Role::Moderator)));
        assert!(!outranks(Role::Owner, Standing::Member(Role::Owner)));
    }
}
