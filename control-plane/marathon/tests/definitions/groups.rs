//! Several definitions in one body: lists and groups.

use serde_json::json;
use tepui_marathon::{PathId, Ratio, Settings, decode_app_updates, decode_group_update};

#[test]
fn errors_in_lists_and_groups_begin_with_their_place() {
    let settings = Settings::default();
    let error = decode_app_updates(br#"[{"id":"/a"},{"id":5}]"#, &settings).unwrap_err();
    assert_eq!(
        serde_json::to_value(&error).unwrap()["details"],
        json!([{"path": "(1)/id", "errors": ["error.expected.jsstring"]}])
    );
    let body = br#"{"id":"g","groups":[{"id":"h","apps":[{"id":"a","cmd":7}]}]}"#;
    let error = decode_group_update(body, &PathId::root(), true, &settings).unwrap_err();
    assert_eq!(
        serde_json::to_value(&error).unwrap()["details"],
        json!([{"path": "/groups(0)/apps(0)/cmd", "errors": ["error.expected.jsstring"]}])
    );
}

#[test]
fn ids_in_groups_are_relative_to_their_group() {
    let body = br#"{"id":"g","groups":[{"id":"h","dependencies":["../x"],
        "apps":[{"id":"a","cmd":"sleep 1","dependencies":["b","../c"]}]}]}"#;
    let update = decode_group_update(body, &PathId::root(), true, &Settings::default()).unwrap();
    let sub = &update.groups.as_ref().unwrap()[0];
    let app = &sub.apps.as_ref().unwrap()[0];
    assert_eq!(update.id.unwrap().as_str(), "/g");
    assert_eq!(sub.id.as_ref().unwrap().as_str(), "/g/h");
    assert_eq!(app.id.as_ref().unwrap().as_str(), "/g/h/a");
    let dependencies = app.dependencies.as_ref().unwrap();
    assert_eq!(dependencies.iter().map(PathId::as_str).collect::<Vec<_>>(), ["/g/h/b", "/g/c"]);
    let sibling = &sub.dependencies.as_ref().unwrap()[0];
    assert_eq!(sibling.as_str(), "/g/x", "a sibling of the group that names it");
}

#[test]
fn pods_in_a_group_are_refused_by_name_and_an_empty_list_of_them_is_not() {
    let decode =
        |body: &[u8]| decode_group_update(body, &PathId::root(), true, &Settings::default());
    assert!(decode(br#"{"id":"g","pods":[],"apps":[]}"#).is_ok());
    let refused = decode(br#"{"id":"g","groups":[{"id":"h","pods":[{"id":"p"}]}]}"#).unwrap_err();
    assert_eq!(
        serde_json::to_value(&refused).unwrap()["details"],
        json!([{"path": "/groups(0)/pods", "errors": ["this release does not run pods"]}])
    );
}

#[test]
fn scaling_a_group_stands_alone() {
    let decode =
        |body: &[u8]| decode_group_update(body, &PathId::root(), false, &Settings::default());
    assert_eq!(decode(br#"{"scaleBy":2}"#).unwrap().scale_by, Some(Ratio::from_milli(2000)));
    assert_eq!(decode(br#"{"scaleBy":2,"apps":[]}"#).unwrap_err().status, 422);
    assert_eq!(decode(br#"{"scaleBy":-1}"#).unwrap_err().status, 422);
}
