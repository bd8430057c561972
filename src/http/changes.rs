//! Requests that change something run in tasks of their own and come to their end although their clients have gone: between
//! a change and its announcement nothing may break off, or other nodes would not learn of it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::StatusCode;
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument as _;

use super::extract::whole;
use super::problem::Problem;
use crate::limits;
use crate::shutdown::Tasks;

/// Those that are under way. A stop waits for them.
#[derive(Debug, Clone)]
pub struct Changes {
    tasks: Tasks,
    places: Arc<Semaphore>,
}

impl Default for Changes {
    fn default() -> Self {
        Self::at_once(limits::CHANGES_AT_ONCE)
    }
}

impl Changes {
    fn at_once(count: usize) -> Self {
        Self {
            tasks: Tasks::new("requests"),
            places: Arc::new(Semaphore::new(count)),
        }
    }

    /// Waits until none is under way.
    pub async fn idle(&self) {
        self.tasks.idle().await;
    }
}

/// Runs a request that changes something in a task of its own, once all of its body is there: a body that does not end is
/// its client's affair. What only reads ends with its client.
pub(super) async fn to_its_end(State(changes): State<Changes>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = match whole(body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let Ok(place) = Arc::clone(&changes.places).try_acquire_owned() else {
        return Problem::new("unavailable", "too many requests are under way: try again")
            .retry_after(2.0)
            .into_response();
    };
    let request = Request::from_parts(parts, Body::from(body));
    let (tell, told) = oneshot::channel();
    let run = async move {
        let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        drop(place);
        // Nobody listens if the client has gone.
        let _ = tell.send(outcome);
    };
    changes.tasks.spawn(run.in_current_span());
    match told.await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => resume_unwind(panic),
        // The process ends.
        Err(_) => Problem::of_status(StatusCode::SERVICE_UNAVAILABLE).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use bytes::Bytes;
    use futures_util::stream;
    use http::Method;
    use tokio::sync::mpsc;
    use tower::ServiceExt as _;

    use super::*;

    /// Routes whose one handler tells when it begins and ends, and waits in between.
    struct Scene {
        router: Router,
        changes: Changes,
        told: mpsc::Receiver<&'static str>,
        go_on: Arc<Semaphore>,
    }

    fn scene(at_once: usize) -> Scene {
        let changes = Changes::at_once(at_once);
        let (progress, told) = mpsc::channel(8);
        let go_on = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&go_on);
        let handler = move || async move {
            progress.send("begun").await.unwrap();
            let _ = waits.acquire().await;
            progress.send("ended").await.unwrap();
        };
        let around = from_fn_with_state(changes.clone(), to_its_end);
        Scene {
            router: Router::new().route("/", any(handler)).layer(around),
            changes,
            told,
            go_on,
        }
    }

    fn request(method: Method, body: Body) -> Request {
        Request::builder().method(method).body(body).unwrap()
    }

    /// Asks with a method and goes away once the handler has begun; whether that came to its end.
    async fn ends_without_its_client(method: Method) -> bool {
        let mut scene = scene(8);
        let mut asked = Box::pin(scene.router.clone().oneshot(request(method, Body::empty())));
        tokio::select! {
            biased;
            begun = scene.told.recv() => assert_eq!(begun, Some("begun")),
            _ = &mut asked => panic!("nobody has let it end"),
        }
        drop(asked);
        drop(scene.router);
        scene.go_on.add_permits(1);
        // A stop waits for it.
        scene.changes.idle().await;
        scene.told.recv().await == Some("ended")
    }

    #[tokio::test]
    async fn what_changes_something_comes_to_its_end_without_its_client() {
        for method in [Method::DELETE, Method::POST, Method::PUT, Method::PATCH] {
            assert!(ends_without_its_client(method.clone()).await, "{method}");
        }
        assert!(
            !ends_without_its_client(Method::GET).await,
            "a reading is for its client alone"
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_left_with_its_client() {
        let mut scene = scene(8);
        let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
        let body = Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()));
        let asked = scene.router.clone().oneshot(request(Method::PUT, body));
        assert!(asked.now_or_never().is_none());
        scene.changes.idle().await;
        assert!(scene.told.try_recv().is_err(), "the handler has not begun");
    }

    #[tokio::test]
    async fn one_more_than_there_are_places_is_told_to_come_back() {
        let mut scene = scene(1);
        let asked = tokio::spawn(scene.router.clone().oneshot(request(Method::PUT, Body::empty())));
        assert_eq!(scene.told.recv().await, Some("begun"));
        let refused = scene
            .router
            .clone()
            .oneshot(request(Method::PUT, Body::empty()))
            .await
            .unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        scene.go_on.add_permits(2);
        assert_eq!(asked.await.unwrap().unwrap().status(), StatusCode::OK);
        let again = scene.router.oneshot(request(Method::PUT, Body::empty())).await.unwrap();
        assert_eq!(again.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_panic_is_still_one() {
        async fn defective() {
            panic!("the defect of a test");
        }
        let router = Router::<()>::new()
            .route("/", any(defective))
            .layer(from_fn_with_state(Changes::default(), to_its_end))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(
                super::super::outer::after_panic,
            ));
        let response = router.oneshot(request(Method::PUT, Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
