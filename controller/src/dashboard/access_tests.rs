use http::{HeaderName, HeaderValue};

use super::*;
use crate::fake::Fake;
use crate::metrics::Metrics;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs =
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

/// An API server that knows mia, who may do everything in `shop` and see in `edge`.
fn cluster() -> (Fake, Access) {
    let fake = Fake::new();
    fake.review(TOKEN_REVIEW, |review| {
        if review["spec"]["token"] == "mias" {
            let user = json!({"username": "mia", "groups": ["team"], "uid": "7"});
            json!({"authenticated": true, "user": user})
        } else {
            json!({"authenticated": false, "error": "no"})
        }
    });
    fake.review(SUBJECT_ACCESS_REVIEW, |review| {
        assert_eq!((&review["spec"]["user"], &review["spec"]["groups"]), (&json!("mia"), &json!(["team"])));
        let asked = &review["spec"]["resourceAttributes"];
        let allowed = asked["namespace"] == "shop" || (asked["namespace"] == "edge" && asked["verb"] == "list");
        json!({"allowed": allowed})
    });
    let rest = Rest::new(fake.client(), Metrics::new("test", "istio"));
    (fake, Access::by_token(rest))
}

#[test]
fn on_the_loopback_only_its_own_names_are_answered() {
    for (host, answered) in [
        ("localhost", true),
        ("localhost:8081", true),
        ("LOCALHOST:1", true),
        ("127.0.0.1:8081", true),
        ("127.0.0.2", true),
        ("[::1]:8081", true),
        ("[::1]", true),
        ("evil.example", false),
        ("evil.example:8081", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("127.0.0.1:8081@evil.example", false),
        ("10.0.0.1", false),
        ("[::1", false),
        ("[::1]x", false),
        ("::1", false),
        ("", false),
    ] {
        let checked = Access::Loopback.check_host(&headers(&[("host", host)]));
        assert_eq!(checked.is_ok(), answered, "{host}");
    }
    assert!(Access::Loopback.check_host(&HeaderMap::new()).is_err());
}

#[tokio::test]
async fn only_the_page_itself_may_ask_on_the_loopback() {
    let host = ("host", "127.0.0.1:8081");
    for (rest, admitted) in [
        (vec![(HEADER, "1")], true),
        (vec![], false),
        (vec![(HEADER, "1"), ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8081")], true),
        (vec![(HEADER, "1"), ("sec-fetch-site", "cross-site")], false),
        (vec![(HEADER, "1"), ("sec-fetch-site", "same-site")], false),
        (vec![(HEADER, "1"), ("origin", "http://evil.example")], false),
        (vec![(HEADER, "1"), ("origin", "http://127.0.0.1:9999")], false),
        (vec![(HEADER, "1"), ("origin", "null")], false),
    ] {
        let asked = headers(&[&[host], rest.as_slice()].concat());
        let admit = Access::Loopback.admit(&asked).await;
        assert_eq!(admit.is_ok(), admitted, "{rest:?}");
    }
}

#[tokio::test]
async fn a_token_is_reviewed_once_a_minute() {
    let (fake, access) = cluster();
    let with = |token: &str| headers(&[(HEADER, "1"), ("authorization", &format!("Bearer {token}"))]);
    for _ in 0..3 {
        let asker = access.admit(&with("mias")).await.unwrap();
        assert_eq!(asker.name(), "mia");
    }
    assert_eq!(fake.requests().len(), 1, "{:?}", fake.requests());
    for _ in 0..3 {
        assert_eq!(access.admit(&with("stolen")).await.unwrap_err().status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(fake.requests().len(), 2);
    for wrong in [headers(&[(HEADER, "1")]), headers(&[(HEADER, "1"), ("authorization", "Basic bWlhOm1pYQ==")])] {
        assert_eq!(access.admit(&wrong).await.unwrap_err().status(), StatusCode::UNAUTHORIZED);
    }
    let without = headers(&[("authorization", "Bearer mias")]);
    assert_eq!(access.admit(&without).await.unwrap_err(), Refusal::Origin);
    assert_eq!(fake.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_of_a_token_is_not_believed_for_ever() {
    let (fake, access) = cluster();
    let with = headers(&[(HEADER, "1"), ("authorization", "Bearer mias")]);
    let asker = access.admit(&with).await.unwrap();
    assert!(access.may(&asker, Right::See, "shop").await.unwrap());
    tokio::time::advance(BELIEVED + Duration::from_secs(1)).await;
    fake.review(TOKEN_REVIEW, |_| json!({"authenticated": false}));
    fake.review(SUBJECT_ACCESS_REVIEW, |_| json!({"allowed": false}));
    assert!(access.admit(&with).await.is_err());
    assert!(!access.may(&asker, Right::See, "shop").await.unwrap());
}

#[tokio::test]
async fn kubernetes_rights_decide_in_each_namespace() {
    let (fake, access) = cluster();
    let asker = access.admit(&headers(&[(HEADER, "1"), ("authorization", "Bearer mias")])).await.unwrap();
    for (right, namespace, allowed) in [
        (Right::See, "shop", true),
        (Right::Act, "shop", true),
        (Right::See, "edge", true),
        (Right::Act, "edge", false),
        (Right::SeePods, "kube-system", false),
        (Right::See, "", false),
    ] {
        assert_eq!(access.may(&asker, right, namespace).await.unwrap(), allowed, "{right:?} {namespace}");
    }
    let refused = access.demand(&asker, Right::Act, "edge").await.unwrap_err();
    assert_eq!(refused.to_string(), "mia may not patch canaries in namespace edge");
    assert!(access.demand(&asker, Right::Act, "shop").await.is_ok());
    fake.review(SUBJECT_ACCESS_REVIEW, |_| json!({"allowed": false}));
    assert!(access.demand(&asker, Right::Act, "shop").await.is_err(), "a right to act is asked for each time");
    assert!(access.demand(&asker, Right::See, "shop").await.is_ok(), "one to see once a minute");
    assert!(!access.may(&Asker::Loopback, Right::See, "shop").await.unwrap(), "nobody is let in twice");
}

#[tokio::test]
async fn nobody_is_let_in_while_the_api_server_does_not_say() {
    let (fake, access) = cluster();
    fake.fail(500, "etcd is away");
    let refused = access.admit(&headers(&[(HEADER, "1"), ("authorization", "Bearer mias")])).await.unwrap_err();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.to_string().contains("etcd is away"), "{refused}");
}
