//! The one layer that every route's requests pass: who asks, whether they may, and how often.
//!
//! It comes before the body is read: a stranger makes nobody buffer anything.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::audit::Audit;
use super::config::Config;
use super::problem::Problem;
use super::server::Peer;
use crate::auth::{Auth, Credentials, Identity, Limiter, Permission, Refusal, Source};
use crate::clock;
use crate::metrics::Metrics;

/// Who may use a route.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// Everybody.
    Everybody,
    /// Whoever has shown who they are.
    Known,
    /// Whoever may do this.
    Permitted(Permission),
}

/// What the layer decides by.
pub(super) struct Gate {
    auth: Auth,
    by_address: Limiter<Source>,
    by_holder: Limiter<Arc<str>>,
    pub(super) audit: Audit,
    metrics: Arc<Metrics>,
}

/// Headers by which a proxy says that it asks for somebody else.
const PASSED_ON: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Lets a request pass whose caller may use the route; its identity is in the request's extensions from here on.
pub(super) async fn authorise(
    State((gate, access)): State<(Arc<Gate>, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    match gate.admit(access, &request) {
        Ok(Some(identity)) => {
            request.extensions_mut().insert(Arc::new(identity));
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Gate {
    pub(super) fn new(auth: Auth, config: &Config, audit: Audit, metrics: Arc<Metrics>) -> Gate {
        let (by_address, by_holder) = (Limiter::new(config.address_rate), Limiter::new(config.token_rate));
        Gate { auth, by_address, by_holder, audit, metrics }
    }

    fn admit(&self, access: Access, request: &Request) -> Result<Option<Identity>, Problem> {
        let needed = match access {
            Access::Everybody => return Ok(None),
            Access::Known => None,
            Access::Permitted(permission) => Some(permission),
        };
        // Every connection has its peer; without one nobody is let in.
        let peer = request.extensions().get::<Peer>().ok_or_else(missing)?;
        let now = Instant::now();

        let token = bearer(request.headers());
        let local = peer.loopback && is_direct(request.headers());
        // What is no bearer token is none of ours: it is shown, and it is bad.
        let shown =
            Credentials { token: token.map(|token| token.unwrap_or("")), subject: peer.subject.as_deref(), local };
        // Looked at before anything is taken from a bucket: whoever shares an address with others is limited by what they
        // show, not by what those others do. It costs a search among a thousand ids and one hash of a short text at most.
        let identity = match self.auth.identify(shown, clock::judged()) {
            Ok(identity) => identity,
            Err(why) => {
                self.by_address.take(peer.source, now).map_err(|wait| self.too_often(wait))?;
                return Err(self.refuse(&why, peer.source, now));
            }
        };
        self.by_holder.take(Arc::clone(&identity.id), now).map_err(|wait| self.too_often(wait))?;
        if needed.is_some_and(|permission| !identity.may(permission)) {
            self.count("forbidden");
            self.audit.forbidden(peer.source, &identity, now);
            let detail = format!("a {} may not do this", identity.role);
            let scope = "Bearer realm=\"vestibule\", error=\"insufficient_scope\"";
            return Err(
                Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).header(header::WWW_AUTHENTICATE, scope)
            );
        }
        Ok(Some(identity))
    }

    fn refuse(&self, why: &Refusal, source: Source, now: Instant) -> Problem {
        let (reason, code, detail) = match why {
            Refusal::Missing => ("missing", "unauthorised", "this needs a token: `Authorization: Bearer vst_…`"),
            Refusal::Invalid => ("invalid", "token_invalid", "the token is not one of this gateway, or was revoked"),
            Refusal::Expired(_) => ("expired", "token_expired", "the token has expired"),
            Refusal::Unmapped(_) => {
                ("unmapped", "unauthorised", "nothing says what the certificate is worth, and there is no token")
            }
        };
        let pausing = self.audit.refused(source, why, detail, now);
        if let Some(pause) = pausing.filter(|_| matches!(why, Refusal::Invalid | Refusal::Expired(_))) {
            self.count("pausing");
            let detail = "too many tokens from this address were refused; a good one is taken at any time";
            return later(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail, pause);
        }
        self.count(reason);
        if *why == Refusal::Missing {
            return missing();
        }
        let invalid = "Bearer realm=\"vestibule\", error=\"invalid_token\"";
        Problem::new(StatusCode::UNAUTHORIZED, code, detail).header(header::WWW_AUTHENTICATE, invalid)
    }

    fn too_often(&self, wait: Duration) -> Problem {
        self.count("rate");
        later(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests", wait)
    }

    fn count(&self, reason: &str) {
        self.metrics.auth_refused.with_label_values(&[reason]).inc();
    }
}

fn missing() -> Problem {
    let detail = "this needs a token: `Authorization: Bearer vst_…`";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorised", detail)
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"vestibule\"")
}

/// Come again after so many seconds, rounded up.
fn later(status: StatusCode, code: &'static str, detail: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(status, code, detail).header(header::RETRY_AFTER, &seconds.max(1).to_string())
}

/// What a request shows in `Authorization`: nothing, a bearer token, or something that is none.
fn bearer(headers: &HeaderMap) -> Option<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    let token = first.to_str().ok().filter(|_| values.next().is_none()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    Some(token)
}

/// Whether the request was made here for whoever is here: no proxy has passed it on, and it is not for a name that a web page
/// of somebody else has made point here, nor sent by one.
fn is_direct(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let ours = |origin: &str| origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(is_loopback_name)) == Some(true);
    PASSED_ON.iter().all(|name| !headers.contains_key(*name))
        && text(header::HOST).is_some_and(ours)
        && text(header::ORIGIN).is_none_or(ours)
}

fn is_loopback_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_bearer_token_is_one_header_of_that_scheme() {
        for (pairs, token) in [
            (vec![], None),
            (vec![("authorization", "Bearer abc")], Some(Some("abc"))),
            (vec![("authorization", "bearer  abc ")], Some(Some("abc"))),
            (vec![("authorization", "Basic abc")], Some(None)),
            (vec![("authorization", "Bearer")], Some(None)),
            (vec![("authorization", "Bearer a"), ("authorization", "Bearer b")], Some(None)),
        ] {
            assert_eq!(bearer(&headers(&pairs)), token, "{pairs:?}");
        }
    }

    #[test]
    fn only_what_was_asked_here_for_here_is_local() {
        for host in ["127.0.0.1:8080", "localhost", "LocalHost:80", "[::1]:8080", "127.1.2.3"] {
            assert!(is_direct(&headers(&[("host", host)])), "{host}");
        }
        for pairs in [
            vec![],
            vec![("host", "branch-pi:8080")],
            vec![("host", "127.0.0.1.evil.example")],
            vec![("host", "localhost"), ("origin", "https://evil.example")],
            vec![("host", "localhost"), ("origin", "null")],
            vec![("host", "localhost"), ("x-forwarded-for", "192.0.2.1")],
            vec![("host", "localhost"), ("via", "1.1 proxy")],
        ] {
            assert!(!is_direct(&headers(&pairs)), "{pairs:?}");
        }
        assert!(is_direct(&headers(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")])));
    }
}
