use serde_json::json;

use super::*;

const OWNER: &str = "node1";

fn declared(apps: &[Value]) -> Vec<Definition> {
    apps.iter().map(|app| Definition::new(app.clone(), "apps.json").unwrap()).collect()
}

/// What a cluster makes of a request, with the service port that it chose.
fn accepted(app: &Value, owner: &str) -> Live {
    let definition = Definition::new(app.clone(), "apps.json").unwrap();
    let request = definition.request(owner, None);
    let mut value = serde_json::to_value(of(request).app(None).unwrap()).unwrap();
    value["tasksRunning"] = json!(1);
    value["deployments"] = json!([{"id": "7f"}]);
    if let Some(port) = value["portDefinitions"].get_mut(0) {
        port["port"] = json!(10_004);
    }
    Live::parse(&value).unwrap()
}

fn of(body: Value) -> Definition {
    Definition { id: AppId::parse(body["id"].as_str().unwrap()).unwrap(), body }
}

fn web() -> Value {
    json!({"id": "/web", "cmd": "serve", "cpus": 0.5, "instances": 2})
}

fn ids(ids: &[AppId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn planned(apps: &[Value], live: &[Live]) -> Plan {
    plan(&declared(apps), live, OWNER, Pruning::Percent(50), false).unwrap()
}

#[test]
fn what_was_applied_needs_no_second_time() {
    let spelled_out = json!({"id": "web", "cmd": "serve", "cpus": 0.50, "mem": 128, "instances": 2,
        "ports": [0], "env": {}, "upgradeStrategy": {"minimumHealthCapacity": 1.0, "maximumOverCapacity": 1}});
    for app in [web(), spelled_out] {
        let plan = planned(&[app], &[accepted(&web(), OWNER)]);
        assert!(plan.is_empty(), "{plan:?}");
        assert_eq!(ids(&plan.unchanged), ["/web"]);
    }
}

#[test]
fn a_change_is_told_value_by_value() {
    let mut changed = web();
    changed["cpus"] = json!(1);
    changed["env"] = json!({"MODE": "fast"});
    let plan = planned(&[changed], &[accepted(&web(), OWNER)]);
    let shown: Vec<String> = plan.change.values().flatten().map(ToString::to_string).collect();
    assert_eq!(shown, ["cpus: 0.5 -> 1", "env.MODE: - -> \"fast\""]);
}

#[test]
fn what_left_the_definition_goes_back_to_its_default() {
    let mut before = web();
    before["env"] = json!({"MODE": "fast"});
    let plan = planned(&[web()], &[accepted(&before, OWNER)]);
    let shown: Vec<String> = plan.change.values().flatten().map(ToString::to_string).collect();
    assert_eq!(shown, ["env.MODE: \"fast\" -> -"]);
}

#[test]
fn an_app_that_declares_no_instances_keeps_those_that_somebody_scaled_it_to() {
    let mut app = web();
    app.as_object_mut().unwrap().remove("instances");
    let mut scaled = accepted(&web(), OWNER);
    scaled.0.instances = 7;
    assert!(planned(&[app.clone()], &[scaled.clone()]).is_empty());
    let request = of(app).request(OWNER, Some(&scaled.0));
    assert_eq!(request["instances"], 7);
}

#[test]
fn only_apps_of_the_owner_are_pruned() {
    let app = |id: &str| json!({"id": id, "cmd": "exec x"});
    let mut nobodys = accepted(&app("/manual"), OWNER);
    nobodys.0.labels.remove(OWNER_LABEL);
    let live = [
        accepted(&web(), OWNER),
        accepted(&app("/old"), OWNER),
        accepted(&app("/theirs"), "node2"),
        nobodys,
    ];
    assert_eq!(ids(&planned(&[web()], &live).remove), ["/old"]);
    let off = plan(&declared(&[web()]), &live, OWNER, Pruning::Off, false).unwrap();
    assert!(off.is_empty());
}

#[test]
fn nothing_declared_never_means_remove_everything() {
    let live = [accepted(&web(), OWNER)];
    for percent in [1, 50, 100] {
        let refused = plan(&[], &live, OWNER, Pruning::Percent(percent), false).unwrap_err();
        assert_eq!(refused, Conflict::Prune(PruneRefusal::Empty(1)));
    }
    assert!(plan(&[], &[], OWNER, Pruning::Percent(50), false).unwrap().is_empty());
}

#[test]
fn no_more_go_at_once_than_the_limit_lets() {
    let app = |id: &str| json!({"id": id, "cmd": "exec x"});
    let live: Vec<Live> =
        ["/a", "/b", "/c", "/d"].iter().map(|id| accepted(&app(id), OWNER)).collect();
    let prune = |keep: &[&str], percent| {
        let keep: Vec<Value> = keep.iter().map(|id| app(id)).collect();
        plan(&declared(&keep), &live, OWNER, Pruning::Percent(percent), false)
    };
    assert_eq!(ids(&prune(&["/a", "/b"], 50).unwrap().remove), ["/c", "/d"]);
    let refused = PruneRefusal::TooMany { would: 3, of: 4, may: 2 };
    assert_eq!(prune(&["/a"], 50).unwrap_err(), Conflict::Prune(refused));
    assert_eq!(ids(&prune(&["/a", "/b", "/c"], 1).unwrap().remove), ["/d"]);
    // One that got a new name.
    assert_eq!(ids(&planned(&[app("/e")], &live[..1]).remove), ["/a"]);
}

#[test]
fn apps_of_others_are_left_alone_and_those_of_nobody_are_adopted_when_asked() {
    let theirs = accepted(&web(), "node2");
    let mut nobodys = accepted(&web(), OWNER);
    nobodys.0.labels.remove(OWNER_LABEL);
    let adopt = |live: &Live, adopt| {
        plan(&declared(&[web()]), std::slice::from_ref(live), OWNER, Pruning::Off, adopt)
    };
    let id = AppId::parse("/web").unwrap();
    let foreign =
        |owner: Option<&str>| Conflict::Foreign(vec![(id.clone(), owner.map(Into::into))]);
    assert_eq!(adopt(&theirs, true).unwrap_err(), foreign(Some("node2")));
    assert_eq!(adopt(&nobodys, false).unwrap_err(), foreign(None));
    let taken = adopt(&nobodys, true).unwrap();
    let shown: Vec<String> = taken.change.values().flatten().map(ToString::to_string).collect();
    assert_eq!(shown, ["labels.TEPUI_OWNER: - -> \"node1\""]);
}

#[test]
fn what_holds_a_path_that_a_new_app_needs_goes_first_and_all_else_last() {
    let app = |id: &str| json!({"id": id, "cmd": "exec x"});
    for (live, new, first) in [
        (["/a", "/other"], "/a/x", "/a"),
        (["/a/x", "/other"], "/a", "/a/x"),
        (["/a/x/y", "/ab"], "/a", "/a/x/y"),
    ] {
        let live: Vec<Live> = live.iter().map(|id| accepted(&app(id), OWNER)).collect();
        let wanted = declared(&[app(new)]);
        let plan = plan(&wanted, &live, OWNER, Pruning::Percent(100), false).unwrap();
        let (before, after) = plan.removals();
        assert_eq!(before, [&AppId::parse(first).unwrap()]);
        assert_eq!(after.len(), 1, "{plan:?}");
    }
}

#[test]
fn an_app_whose_path_is_taken_for_good_is_told_with_what_takes_it() {
    let app = |id: &str| json!({"id": id, "cmd": "exec x"});
    let obstacle = |owner: Option<&str>| {
        Conflict::InTheWay(vec![Obstacle {
            new: AppId::parse("/a/x").unwrap(),
            there: AppId::parse("/a").unwrap(),
            owner: owner.map(Into::into),
        }])
    };
    let refused = |live: &Live, pruning| {
        let live = std::slice::from_ref(live);
        plan(&declared(&[app("/a/x")]), live, OWNER, pruning, false).unwrap_err()
    };
    let own = accepted(&app("/a"), OWNER);
    assert_eq!(refused(&own, Pruning::Off), obstacle(Some(OWNER)));
    let theirs = accepted(&app("/a"), "node2");
    assert_eq!(refused(&theirs, Pruning::Percent(100)), obstacle(Some("node2")));
    let mut nobodys = own;
    nobodys.0.labels.remove(OWNER_LABEL);
    assert_eq!(refused(&nobodys, Pruning::Percent(100)), obstacle(None));
}
