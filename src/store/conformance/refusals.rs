//! The clause about errors: whoever gets one knows that nothing was stored.

use anyhow::{Context, ensure};

use super::messages::ids;
use super::{AT, Scene, Subject, fresh_name, new_user, parse_nonce, user};
use crate::model::{NewMessage, Role, Standing};
use crate::store::{Error, Invite, Range};

/// Where an error is answered, nothing changed. Whether there is an error is for the other clauses to say.
pub async fn refused(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    scene
        .say(NewMessage {
            nonce: parse_nonce("n-1"),
            ..scene.says(&scene.ann, "hi")
        })
        .await?;
    let before = scene.history().await?.len();
    let reused = NewMessage {
        nonce: parse_nonce("n-1"),
        retry: true,
        ..scene.says(&scene.ann, "ho")
    };
    let stored = usize::from(scene.append(reused).await.is_ok());
    ensure!(
        scene.history().await?.len() == before + stored,
        "an append that failed stored something"
    );

    let code = fresh_name("code")?.to_string();
    let invite = Invite {
        code: code.clone(),
        by: scene.ann.id,
        uses_left: 1,
        expires_at: AT.plus(HOUR),
    };
    store.create_invite(invite.clone()).await?;
    if store
        .create_user(new_user(scene.bob.name.clone()), Some(&code))
        .await
        .is_err()
    {
        let kept = store.invites(AT).await?;
        ensure!(kept.contains(&invite), "a registration that failed used its invite up");
    }
    let outsider = user(&**store, "carol").await?;
    if store.hand_over(scene.room.id, scene.ann.id, outsider.id).await.is_err() {
        let standing = store.standing(scene.room.id, scene.ann.id).await?;
        ensure!(
            standing == Standing::Member(Role::Owner),
            "a hand-over that failed left {standing:?}"
        );
    }
    nothing_is_half_stored_when_full(subject, &scene).await?;

    store.close().await;
    let late = store.append(vec![scene.says(&scene.ann, "after closing")]).await;
    ensure!(
        matches!(&late[..], [Err(Error::Refused(_))]),
        "a closed store answers {late:?}"
    );
    let found = subject
        .reborn()
        .await?
        .page(scene.room.id, Range::Latest, 10_000)
        .await?;
    ensure!(
        found.messages.iter().all(|m| m.body != "after closing"),
        "a refused message was stored"
    );
    Ok(())
}

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

async fn nothing_is_half_stored_when_full(subject: &dyn Subject, scene: &Scene) -> anyhow::Result<()> {
    if !subject.fill(true).await {
        return Ok(());
    }
    let mut stored = ids(&scene.history().await?);
    let mut refused = 0;
    let mut unknown = 0;
    for nth in 0..2_000 {
        match scene
            .store
            .append(vec![scene.says(&scene.ann, &"x".repeat(4_000))])
            .await
            .pop()
        {
            Some(Ok(appended)) if appended.fresh => stored.push(appended.message.id),
            Some(Err(Error::Refused(_))) => refused += 1,
            Some(Err(Error::UnknownOutcome(_))) => unknown += 1,
            other => anyhow::bail!("append {nth} to a full storage answers {other:?}"),
        }
        if refused == 3 {
            break;
        }
    }
    ensure!(refused == 3, "a full storage refuses nothing");
    let found = ids(&scene.history().await?);
    let extra = found
        .len()
        .checked_sub(stored.len())
        .context("an acknowledged message is lost")?;
    ensure!(extra <= unknown, "{extra} messages that were refused are stored");
    ensure!(
        stored.iter().all(|id| found.contains(id)),
        "an acknowledged message is lost"
    );
    subject.fill(false).await;
    scene.say(scene.says(&scene.ann, "there is space again")).await?;
    Ok(())
}
