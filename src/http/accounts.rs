//! Registering, logging in and out, and the password.
//!
//! A log-in always makes a new session with a new id, so a cookie that somebody planted before is worth nothing. An
//! unknown name and a wrong password get the same answer after the same work. What was checked before the session was
//! saved is checked again afterwards: an account that was disabled in between keeps no session.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use tower_sessions::Session;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::JsonBody;
use super::gate::{Caller, LoggedIn};
use super::problem::{Problem, Result};
use super::views::Me;
use crate::config::Registration;
use crate::limits;
use crate::model::name::NAME_CHARS_MAX;
use crate::model::user::PASSWORD_CHARS;
use crate::model::{Name, User, UserId};
use crate::rooms::directory;
use crate::sessions::{ADDRESS_KEY, AGENT_KEY, SessionHandle, USER_KEY};
use crate::store::{self, NewUser};
use crate::throttle::{Kind, Verdict, address_key};

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in, who_am_i, log_out))
        .routes(routes!(change_password))
}

/// A new account.
#[derive(Deserialize, ToSchema)]
struct Registering {
    /// 1 to 32 of ASCII letters, digits, `_` and `-`; unique without regard to case.
    username: String,
    /// 8 to 256 characters.
    #[schema(format = "password")]
    password: String,
    /// Needed where registration is by invite.
    invite: Option<String>,
}

/// A name and its password.
#[derive(Deserialize, ToSchema)]
struct Credentials {
    username: String,
    #[schema(format = "password")]
    password: String,
}

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
struct PasswordChange {
    #[schema(format = "password")]
    current: String,
    /// 8 to 256 characters.
    #[schema(format = "password")]
    new: String,
}

fn check_password(field: &'static str, password: &str) -> Result<()> {
    // Counting stops at the bound, however long the text is.
    let count = password.chars().take(PASSWORD_CHARS.end() + 1).count();
    if PASSWORD_CHARS.contains(&count) {
        return Ok(());
    }
    let (least, most) = (PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
    let detail = format!("a password holds {least} to {most} characters");
    Err(Problem::new("invalid_password", detail).at(field))
}

fn bad_credentials() -> Problem {
    Problem::new(
        "bad_credentials",
        "the user name or the password is wrong, or the account is disabled",
    )
}

/// Makes an account and logs in
#[utoipa::path(operation_id = "register", post, path = "/api/users", tag = "accounts", request_body = Registering, security(()),
    responses((status = 201, body = Me), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 429, body = Problem), (status = 503, body = Problem)))]
async fn register(
    State(http): State<Arc<Http>>,
    session: Session,
    caller: Caller,
    JsonBody(form): JsonBody<Registering>,
) -> Result<(StatusCode, Json<Me>)> {
    let closed = || {
        Problem::new(
            "registration_closed",
            "there is no registration here: ask who runs this server",
        )
    };
    let by_invite = || Problem::new("registration_closed", "a valid invite is needed: ask for one").at("invite");
    let invite = match http.settings.registration {
        Registration::Open => None,
        Registration::Closed => return Err(closed()),
        Registration::Invite => Some(form.invite.as_deref().ok_or_else(by_invite)?),
    };
    let invalid = |error| Problem::from(directory::Error::from(error)).at("username");
    let name = Name::parse(&form.username).map_err(invalid)?;
    check_password("password", &form.password)?;
    admit(&http, Kind::Registration, &address_key(caller.address)).await?;
    // Looked up first so that a taken name costs no hash; the store decides when two ask at once.
    let taken = || Problem::new("name_taken", "another user has this name: choose another").at("username");
    if let Some(user) = http.store.user_by_name(&name).await? {
        let me = repeated(&http, &session, &caller, user, &form)
            .await?
            .ok_or_else(taken)?;
        return Ok((StatusCode::CREATED, Json(me)));
    }
    let user = NewUser {
        name,
        password_hash: http.passwords.hash(&form.password).await?,
        superuser: false,
        at: http.clock.now(),
    };
    let hash = user.password_hash.clone();
    let user = match http.store.create_user(user, invite).await {
        Err(store::Error::NameTaken) => return Err(taken()),
        Err(store::Error::NotFound) => return Err(by_invite()),
        created => created?,
    };
    http.directory.appeared(&user.name);
    let me = open_session(&http, &session, &caller, user, &hash).await?;
    Ok((StatusCode::CREATED, Json(me)))
}

/// A registration whose first attempt made the account, used its invite, and was answered that it failed: the right
/// password logs in to an account that is as young as that. It counts as the log-in that it is.
async fn repeated(
    http: &Http,
    session: &Session,
    caller: &Caller,
    user: User,
    form: &Registering,
) -> Result<Option<Me>> {
    let young = http.clock.now().since(user.created_at) < limits::REGISTRATION_REPEAT;
    if !young || user.name.as_str() != form.username {
        return Ok(None);
    }
    let Ok(tries) = Tries::take(http, &form.username, caller).await else {
        return Ok(None);
    };
    let form = Credentials {
        username: form.username.clone(),
        password: form.password.clone(),
    };
    let checked = check_credentials(http, &form).await;
    tries.judge(http, &checked).await?;
    match checked? {
        Some((user, hash)) => open_session(http, session, caller, user, &hash).await.map(Some),
        None => Ok(None),
    }
}

/// Logs in
#[utoipa::path(operation_id = "log_in", post, path = "/api/session", tag = "accounts", request_body = Credentials, security(()),
    responses((status = 200, body = Me), (status = 401, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
async fn log_in(
    State(http): State<Arc<Http>>,
    session: Session,
    caller: Caller,
    JsonBody(form): JsonBody<Credentials>,
) -> Result<Json<Me>> {
    let tries = Tries::take(&http, &form.username, &caller).await?;
    let checked = check_credentials(&http, &form).await;
    tries.judge(&http, &checked).await?;
    let (user, hash) = checked?.ok_or_else(bad_credentials)?;
    Ok(Json(open_session(&http, &session, &caller, user, &hash).await?))
}

/// The account and the hash that was checked, if name and password are right; the same work if not.
async fn check_credentials(http: &Http, form: &Credentials) -> Result<Option<(User, String)>> {
    let user = match Name::parse(&form.username) {
        Ok(name) => http.store.user_by_name(&name).await?,
        Err(_) => None,
    };
    let hash = match &user {
        Some(user) => http.store.password_hash(user.id).await?,
        None => None,
    };
    // What is too long for a password is cut, so that its length costs no time; it stays too long to be right.
    let password: String = form.password.chars().take(PASSWORD_CHARS.end() + 1).collect();
    let right = http.passwords.verify_or_dummy(hash.as_deref(), &password).await?;
    let fits = |user: &User| right && !user.disabled;
    Ok(user.filter(fits).zip(hash))
}

/// Counts against an account and an address: what fails against both, what is right against the account alone.
struct Tries {
    account: String,
    address: String,
}

impl Tries {
    async fn take(http: &Http, username: &str, caller: &Caller) -> Result<Self> {
        let tries = Self {
            account: username
                .chars()
                .take(NAME_CHARS_MAX + 1)
                .collect::<String>()
                .to_ascii_lowercase(),
            address: address_key(caller.address),
        };
        admit(http, Kind::LoginAddress, &tries.address).await?;
        let throttles = &http.throttles;
        if let Err(problem) = admit(http, Kind::LoginAccount, &tries.account).await {
            throttles.take_back(Kind::LoginAddress, &tries.address).await?;
            return Err(problem);
        }
        // Taken before the hash, so that many at once can't fill the places of all others with what is free.
        if let Err(problem) = admit(http, Kind::LoginSuccess, &tries.account).await {
            throttles.take_back(Kind::LoginAccount, &tries.account).await?;
            throttles.take_back(Kind::LoginAddress, &tries.address).await?;
            return Err(problem);
        }
        Ok(tries)
    }

    /// Gives back what the outcome does not count for.
    async fn judge<T>(&self, http: &Http, checked: &Result<Option<T>>) -> Result<()> {
        let throttles = &http.throttles;
        match checked {
            Ok(None) => return Ok(throttles.take_back(Kind::LoginSuccess, &self.account).await?),
            Ok(Some(_)) => throttles.reset(Kind::LoginAccount, &self.account).await?,
            Err(_) => {
                throttles.take_back(Kind::LoginSuccess, &self.account).await?;
                throttles.take_back(Kind::LoginAccount, &self.account).await?;
            }
        }
        throttles.take_back(Kind::LoginAddress, &self.address).await?;
        Ok(())
    }
}

async fn admit(http: &Http, kind: Kind, key: &str) -> Result<()> {
    match http.throttles.check(kind, key).await? {
        Verdict::Allowed => Ok(()),
        Verdict::RetryAfter(wait) => {
            let what = match kind {
                Kind::Registration => "registrations",
                Kind::LoginSuccess => "log-ins",
                _ => "failed log-ins",
            };
            Err(Problem::rate_limited(what, wait))
        }
    }
}

/// Ends the session of the cookie that came with a request; false if it does not live.
async fn end_own(http: &Http, handle: &SessionHandle) -> Result<bool> {
    let Some(info) = http.sessions.live(handle).await? else {
        return Ok(false);
    };
    match http.directory.end_session(info.user, handle).await {
        // Ended on another way meanwhile, and announced by both: that is what was asked.
        Ok(()) | Err(directory::Error::NotFound(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Gives the browser a new session of this user. `hash` is the password's hash that was checked.
async fn open_session(http: &Http, session: &Session, caller: &Caller, user: User, hash: &str) -> Result<Me> {
    if let Some(id) = session.id() {
        // Whoever was logged in here before is logged out, sockets included. A log-in need not wait on behalf of a session
        // that nobody knows: browsers keep the cookies of sessions that ended long ago.
        let handle = SessionHandle::of(id);
        if !end_own(http, &handle).await? {
            http.directory.settle_known(&handle).await?;
        }
    }
    session.clear().await;
    session.insert(USER_KEY, user.id.to_string()).await?;
    session.insert(AGENT_KEY, &caller.agent).await?;
    session.insert(ADDRESS_KEY, caller.address.to_string()).await?;
    session.cycle_id().await?;
    session.save().await?;
    // From here on the session can be found and ended; so what was checked before is checked once more.
    let now = http.store.user(user.id).await?.filter(|user| !user.disabled);
    let same = http.store.password_hash(user.id).await?.as_deref() == Some(hash);
    let (Some(user), true, Some(id)) = (now, same, session.id()) else {
        session.flush().await?;
        return Err(bad_credentials());
    };
    let handle = SessionHandle::of(id);
    end_surplus(http, user.id, &handle).await;
    Ok(Me::of(&LoggedIn {
        user: Arc::new(user),
        handle,
        expires_at: http.clock.now().plus(http.settings.session_life),
    }))
}

/// Ends what a user has beyond [`limits::SESSIONS_PER_USER_MAX`], but for the session that was just opened.
async fn end_surplus(http: &Http, user: UserId, own: &SessionHandle) {
    let ended = async {
        let mut others = http.sessions.list(user).await.map_err(directory::Error::from)?;
        others.retain(|session| session.handle != *own);
        others.sort_by_key(|session| std::cmp::Reverse(session.last_seen_at));
        let surplus = others.iter().skip(limits::SESSIONS_PER_USER_MAX - 1);
        for session in surplus {
            match http.directory.end_session(user, &session.handle).await {
                // Another log-in has ended it meanwhile.
                Ok(()) | Err(directory::Error::NotFound(_) | directory::Error::RateLimited { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    // The log-in has happened; the next one tries again.
    if let Err(error) = ended.await {
        tracing::warn!(%error, %user, "surplus sessions were not ended");
    }
}

/// Who is logged in
#[utoipa::path(operation_id = "get_session", get, path = "/api/session", tag = "accounts",
    responses((status = 200, body = Me), (status = 401, body = Problem)))]
async fn who_am_i(me: LoggedIn) -> Json<Me> {
    Json(Me::of(&me))
}

/// Logs out; the session's sockets are closed
///
/// Who is not logged in is answered 204 too.
#[utoipa::path(operation_id = "log_out", delete, path = "/api/session", tag = "accounts",
    responses((status = 204), (status = 429, body = Problem), (status = 503, body = Problem)))]
async fn log_out(State(http): State<Arc<Http>>, session: Session) -> Result<StatusCode> {
    if let Some(id) = session.id() {
        let handle = SessionHandle::of(id);
        if !end_own(&http, &handle).await? {
            // An earlier attempt may have ended it and not got further, or the store may have lost it.
            http.directory.settle_session(&handle).await?;
        }
        session.flush().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the password; all other sessions end
#[utoipa::path(operation_id = "change_password", put, path = "/api/password", tag = "accounts", request_body = PasswordChange,
    responses((status = 204), (status = 401, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)))]
async fn change_password(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    caller: Caller,
    JsonBody(form): JsonBody<PasswordChange>,
) -> Result<StatusCode> {
    check_password("new", &form.new)?;
    // A stolen session must not become a way to guess the password.
    let tries = Tries::take(&http, me.user.name.as_str(), &caller).await?;
    let form_of_me = Credentials {
        username: me.user.name.to_string(),
        password: form.current,
    };
    let checked = check_credentials(&http, &form_of_me).await;
    tries.judge(&http, &checked).await?;
    if checked?.is_none() {
        return Err(Problem::new("bad_credentials", "the current password is wrong").at("current"));
    }
    let hash = http.passwords.hash(&form.new).await?;
    http.directory
        .change_password(me.user.id, hash, Some(&me.handle))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
