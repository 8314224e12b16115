use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tower::{Service, ServiceExt};

/// Answers requests by a router that another one can replace while connections stay open.
#[derive(Clone, Debug)]
pub struct Front {
    now: Arc<ArcSwap<Router>>,
}

impl Front {
    /// A front that answers by `router`.
    pub fn new(router: Router) -> Self {
        Self { now: Arc::new(ArcSwap::from_pointee(router)) }
    }

    /// Requests that come from now on are answered by `router`.
    pub fn replace(&self, router: Router) {
        self.now.store(Arc::new(router));
    }

    /// The front as a router that never changes.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.clone())
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let router = Router::clone(&self.now.load());
        Box::pin(router.oneshot(request))
    }
}
