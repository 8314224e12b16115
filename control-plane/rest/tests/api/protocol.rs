use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use tepui_rest::Options;

use crate::rig::{Api, World};

#[tokio::test]
async fn every_answer_carries_the_common_headers() {
    let api = Api::new();
    for path in ["/v2/apps", "/v2/apps/none", "/ping", "/nowhere"] {
        let answer = api.get(path).await;
        assert_eq!(answer.header("cache-control"), "no-cache, no-store, must-revalidate");
        assert_eq!((answer.header("pragma"), answer.header("expires")), ("no-cache", "0"));
        assert_eq!(answer.header("x-marathon-leader"), "http://localhost:8080");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-xss-protection"), "1; mode=block");
        assert!(answer.header("access-control-allow-origin").is_empty());
    }
    assert_eq!(api.get("/v2/apps/none").await.header("content-type"), "application/json");
}

#[tokio::test]
async fn bad_bodies_get_their_documented_errors() {
    let api = Api::new();
    let broken = api.post("/v2/apps", "{").await.expect(400).json();
    assert_eq!(broken["message"], "Invalid JSON");
    assert!(broken["details"].is_string());
    let empty = api.post("/v2/apps", "").await.expect(400).json();
    assert_eq!(empty["message"], "Please specify data in JSON format");
    let typed = api.post("/v2/apps", r#"{"id":5}"#).await.expect(422).json();
    assert_eq!(
        typed,
        json!({"message": "Invalid JSON",
               "details": [{"path": "/id", "errors": ["error.expected.jsstring"]}]})
    );
    api.post("/v2/apps", &"[".repeat(1_000_000)).await.expect(400);
    let large = api.post("/v2/apps", &" ".repeat(8 * 1024 * 1024 + 1)).await.expect(413).json();
    assert_eq!(large["message"], "The request body has more than 8388608 bytes.");
    let id = api.put("/v2/apps/Not_Legal", r#"{"cmd":"sleep 1"}"#).await.expect(422).json();
    assert_eq!(id["details"], json!([{"path": "/id", "errors": ["error.pattern"]}]));
    let long = format!("/v2/apps/{}", "a".repeat(300));
    let id = api.put(&long, r#"{"cmd":"sleep 1"}"#).await.expect(422).json();
    assert_eq!(id["details"][0]["errors"][0], "error.maxLength");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_but_none_given_is_fine() {
    let api = Api::new();
    let with = |content_type: Option<&str>| {
        let mut request = Request::builder().method(Method::POST).uri("/v2/apps");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.body(Body::from(r#"{"id":"/a","cmd":"sleep 1"}"#)).unwrap()
    };
    api.raw(with(Some("text/xml"))).await.expect(415);
    api.raw(with(None)).await.expect(201);
    api.raw(with(Some("application/json; charset=utf-8"))).await.expect(409);
}

#[tokio::test]
async fn wrong_verbs_name_the_right_ones() {
    let api = Api::new();
    let answer = api.delete("/v2/info").await.expect(405);
    assert_eq!(answer.header("allow"), "GET, HEAD");
    assert_eq!(answer.json()["message"], "Method Not Allowed");
    api.send(Method::PATCH, "/v2/tasks/delete", "").await.expect(405);
    api.get("/v2/events").await.expect(405);
    let options = api.send(Method::OPTIONS, "/v2/apps", "").await.expect(200);
    assert_eq!(options.header("allow"), "GET, HEAD, POST, PUT, PATCH");
}

#[tokio::test]
async fn ping_answers_in_the_form_that_is_accepted() {
    let api = Api::new();
    let ping = async |accept: Option<&str>| {
        let mut request = Request::builder().uri("/ping");
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = api.raw(request.body(Body::empty()).unwrap()).await;
        (answer.status.as_u16(), String::from_utf8(answer.bytes).unwrap())
    };
    for accept in [None, Some("*/*"), Some("text/plain"), Some("text/html;q=0.9, x/y")] {
        assert_eq!(ping(accept).await, (200, "pong".to_owned()), "{accept:?}");
    }
    assert_eq!(ping(Some("application/json")).await, (200, "\"pong\"".to_owned()));
    assert_eq!(ping(Some("image/png")).await, (204, String::new()));
}

#[tokio::test]
async fn other_origins_are_allowed_when_configured() {
    let allow_origins = vec!["http://a".to_owned(), "*".to_owned()];
    let api = Api::over(World::new(), Options { allow_origins, ..Options::default() });
    let request = Request::builder()
        .uri("/v2/apps")
        .header("access-control-request-headers", "X-Me")
        .body(Body::empty())
        .unwrap();
    let answer = api.raw(request).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-headers"), "X-Me");
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
    assert_eq!(answer.header("access-control-max-age"), "86400");
}

#[tokio::test]
async fn a_password_is_asked_for_when_configured() {
    let credentials = Some(("me".to_owned(), "secret".to_owned()));
    let api = Api::over(World::new(), Options { credentials, ..Options::default() });
    let refused = api.get("/v2/apps").await.expect(401);
    assert_eq!(refused.json(), json!({"message": "Invalid username or password."}));
    assert_eq!(refused.header("www-authenticate"), "Basic realm=\"Mesosphere\"");
    let with = |value: &str| {
        Request::builder()
            .uri("/v2/apps")
            .header("authorization", value)
            .body(Body::empty())
            .unwrap()
    };
    api.raw(with("Basic bWU6c2VjcmV0")).await.expect(200);
    api.raw(with("Basic bWU6c2VjcmVU")).await.expect(401);
}

#[tokio::test]
async fn too_many_requests_at_once_are_turned_away() {
    let options = Options { max_concurrent_requests: Some(0), ..Options::default() };
    let api = Api::over(World::new(), options);
    let answer = api.get("/v2/apps").await.expect(503).json();
    assert_eq!(answer["message"], "Too many concurrent requests! Allowed: 0.");
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    let api = Api::new();
    api.post("/v2/apps", r#"{"id":"/a","cmd":"sleep 1"}"#).await.expect(201);
    let request = Request::builder()
        .uri("/v2/apps")
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .unwrap();
    let answer = api.raw(request).await.expect(200);
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.bytes[..2], [0x1f, 0x8b]);
}
