//! Mesos's JSON mapping, rule by rule (`mesos-http.md` section 0.4).

#![allow(clippy::unwrap_used)]

use tepui_wire::{
    Problem, WireMessage, decode_json, encode_json,
    json::MAX_JSON_DEPTH,
    v1::{
        CommandInfo, Filters, FrameworkInfo, HealthCheck, Resource, TaskInfo, TaskState,
        TaskStatus, Value,
        agent::{ProcessIo, process_io},
        command_info, executor, master,
        scheduler::{Call, call},
    },
};

fn read<M: WireMessage>(json: &str) -> M {
    decode_json(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal<M: WireMessage + std::fmt::Debug>(json: &str) -> String {
    decode_json::<M>(json.as_bytes()).unwrap_err().problem.to_string()
}

fn written<M: WireMessage>(message: &M) -> String {
    String::from_utf8(encode_json(message)).unwrap()
}

#[test]
fn a_subscribe_call_reads_as_frameworks_send_it() {
    let call: Call = read(
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"example",
            "roles":["test"],"capabilities":[{"type":"MULTI_ROLE"}]},"suppressed_roles":["test"]},
            "unknown":{"deep":[1,{"x":null}]}}"#,
    );
    assert_eq!(call.r#type(), call::Type::Subscribe);
    let subscribe = call.subscribe.unwrap();
    assert_eq!(subscribe.suppressed_roles, ["test"]);
    assert_eq!(subscribe.framework_info.roles, ["test"]);
    assert_eq!(subscribe.framework_info.failover_timeout, None);
}

#[test]
fn unset_fields_with_a_default_are_written_unless_deprecated() {
    let info = FrameworkInfo { user: "u".into(), name: "n".into(), ..FrameworkInfo::default() };
    let json = written(&info);
    assert_eq!(json, r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#);
    assert_eq!(written(&Filters::default()), r#"{"refuse_seconds":5.0}"#);
    let uri = command_info::Uri { value: "http://h/f".into(), ..command_info::Uri::default() };
    assert_eq!(written(&uri), r#"{"value":"http://h/f","extract":true}"#);
}

#[test]
fn a_message_with_nothing_to_say_is_an_empty_object() {
    assert_eq!(written(&Call::default()), "{}");
}

#[test]
fn values_have_the_forms_mesos_gives_them() {
    let status = TaskStatus {
        task_id: tepui_wire::v1::TaskId { value: "t".into() },
        state: TaskState::TaskRunning.into(),
        uuid: Some(vec![0xfb, 0xff]),
        timestamp: Some(1.5),
        ..TaskStatus::default()
    };
    assert_eq!(
        written(&status),
        r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","timestamp":1.5,"uuid":"+/8="}"#
    );
    let huge = tepui_wire::v1::TimeInfo { nanoseconds: i64::MIN };
    assert_eq!(written(&huge), r#"{"nanoseconds":-9223372036854775808}"#);
}

#[test]
fn numbers_and_booleans_may_come_as_strings() {
    let check: HealthCheck =
        read(r#"{"delay_seconds":"2.5","consecutive_failures":"7","timeout_seconds":3}"#);
    assert_eq!((check.delay_seconds, check.consecutive_failures), (Some(2.5), Some(7)));
    assert_eq!(check.timeout_seconds, Some(3.0));
    let command: CommandInfo = read(r#"{"shell":"false"}"#);
    assert_eq!(command.shell, Some(false));
    let time: tepui_wire::v1::TimeInfo = read(r#"{"nanoseconds":"9007199254740993"}"#);
    assert_eq!(time.nanoseconds, 9_007_199_254_740_993);
}

#[test]
fn infinity_is_a_double_both_ways_and_nan_is_none() {
    let task: TaskInfo = read(
        r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},
            "limits":{"cpus":{"value":"Infinity"},"mem":{"value":"-Infinity"}}}"#,
    );
    assert_eq!(task.limits["cpus"].value, f64::INFINITY);
    let json = written(&task);
    assert!(json.contains(r#""limits":{"cpus":{"value":"Infinity"},"mem":{"value":"-Infinity"}}"#));
    assert_eq!(
        refusal::<Filters>(r#"{"refuse_seconds":"NaN"}"#),
        "refuse_seconds: expected a number, \"Infinity\" or \"-Infinity\", \
         found the string \"NaN\" at line 1 column 23"
    );
    assert!(matches!(
        decode_json::<Filters>(br#"{"refuse_seconds":NaN}"#).unwrap_err().problem,
        Problem::Malformed { .. }
    ));
}

#[test]
fn a_map_value_that_equals_its_default_is_not_lost() {
    let mut task: TaskInfo =
        read(r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}}"#);
    task.limits.insert("cpus".into(), tepui_wire::v1::value::Scalar { value: 0.0 });
    let json = written(&task);
    assert!(json.contains(r#""limits":{"cpus":{"value":0.0}}"#), "{json}");
    assert_eq!(read::<TaskInfo>(&json), task);
}

#[test]
fn null_means_unset_everywhere() {
    let call: Call = read(r#"{"type":null,"accept":null,"subscribe":null}"#);
    assert_eq!(call, Call::default());
    let info: FrameworkInfo = read(r#"{"user":"u","name":"n","roles":[null,"a",null]}"#);
    assert_eq!(info.roles, ["a"]);
    let refused = refusal::<FrameworkInfo>(r#"{"user":null,"name":"n"}"#);
    assert_eq!(refused, "Missing required fields: user");
}

#[test]
fn one_value_stands_for_a_list_of_one() {
    let info: FrameworkInfo =
        read(r#"{"user":"u","name":"n","roles":"a","capabilities":{"type":"MULTI_ROLE"}}"#);
    assert_eq!((info.roles.len(), info.capabilities.len()), (1, 1));
}

#[test]
fn unknown_enum_names_count_as_unset_unless_required() {
    let call: Call = read(r#"{"type":"CONQUER"}"#);
    assert_eq!(call.r#type, None);
    let resource = refusal::<Resource>(r#"{"name":"cpus","type":"TENSOR","scalar":{"value":1}}"#);
    assert_eq!(
        resource,
        "type: expected one of SCALAR, RANGES, SET, TEXT, found the string \"TENSOR\" \
         at line 1 column 30"
    );
}

#[test]
fn of_a_repeated_key_the_last_value_counts() {
    let call: Call = read(
        r#"{"accept":{"offer_ids":[{"value":"a"},{"value":"b"}],"filters":{"refuse_seconds":1}},
            "type":"KILL",
            "accept":{"offer_ids":[{"value":"c"}],"filters":{},"filters":null},
            "type":"ACCEPT"}"#,
    );
    let accept = call.accept.clone().unwrap();
    assert_eq!(call.r#type(), call::Type::Accept);
    assert_eq!(accept.offer_ids.iter().map(|id| &id.value).collect::<Vec<_>>(), ["c"]);
    assert_eq!(accept.filters, None);
    let info: FrameworkInfo = read(r#"{"roles":["a","b"],"user":"u","name":"n","roles":["c"]}"#);
    assert_eq!(info.roles, ["c"]);
}

#[test]
fn a_replaced_value_may_have_been_incomplete() {
    let call: Call = read(r#"{"kill":{},"kill":{"task_id":{"value":"t"}}}"#);
    assert_eq!(call.kill.unwrap().task_id.value, "t");
    let refused = refusal::<Call>(r#"{"kill":{"task_id":{"value":"t"}},"kill":{}}"#);
    assert_eq!(refused, "Missing required fields: kill.task_id");
}

#[test]
fn missing_required_fields_are_all_named_by_their_paths() {
    let refused = refusal::<Call>(
        r#"{"type":"ACCEPT","accept":{"operations":[{"type":"LAUNCH","launch":{"task_infos":[
            {"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"}},
            {"name":"n","agent_id":{},"limits":{"cpus":{}}}]}}]}}"#,
    );
    let task = "accept.operations[0].launch.task_infos[1]";
    assert_eq!(
        refused,
        format!(
            "Missing required fields: {task}.agent_id.value, \
             {task}.limits[\"cpus\"].value, {task}.task_id"
        )
    );
}

#[test]
fn a_long_list_of_missing_fields_is_cut_short() {
    let json = format!(r#"{{"decline":{{"offer_ids":[{}{{}}]}}}}"#, "{},".repeat(99_999));
    let refused = refusal::<Call>(&json);
    assert!(refused.ends_with("decline.offer_ids[19].value and 99980 more"), "{refused}");
}

#[test]
fn wrong_kinds_name_the_path_and_what_would_be_right() {
    let cases = [
        (
            r#"{"accept":{"filters":{"refuse_seconds":{}}}}"#,
            "accept.filters.refuse_seconds: expected a number, \"Infinity\" or \"-Infinity\", \
             found an object",
        ),
        (
            r#"{"accept":[]}"#,
            "accept: expected an object (mesos.v1.scheduler.Call.Accept), found an array",
        ),
        (
            r#"{"accept":{"offer_ids":[7]}}"#,
            "accept.offer_ids[0]: expected an object (mesos.v1.OfferID), found 7",
        ),
        (
            r#"{"accept":{"offer_ids":7}}"#,
            "accept.offer_ids: expected an object (mesos.v1.OfferID), or an array of such, \
             found 7",
        ),
        (
            r#"{"acknowledge":{"uuid":"!"}}"#,
            "acknowledge.uuid: expected a string in base64, found the string \"!\"",
        ),
        (
            r#"{"framework_id":"f"}"#,
            "framework_id: expected an object (mesos.v1.FrameworkID), found the string \"f\"",
        ),
        (r#"{"framework_id":{"value":true}}"#, "framework_id.value: expected a string, found true"),
        ("[]", "invalid type: sequence, expected a JSON object (mesos.v1.scheduler.Call)"),
    ];
    for (json, expected) in cases {
        let refused = refusal::<Call>(json);
        let (fault, place) = refused.split_once(" at line 1 column ").unwrap();
        assert_eq!(fault, expected);
        assert!(place.parse::<usize>().unwrap().abs_diff(json.len()) < 6, "{json}: {place}");
    }
}

#[test]
fn integers_out_of_range_or_broken_are_refused() {
    for number in ["-1", "4294967296", "1.5", "1e300", "\"x\"", "\"\""] {
        let refused = refusal::<HealthCheck>(&format!(r#"{{"consecutive_failures":{number}}}"#));
        let wanted = "consecutive_failures: expected a whole number from 0 to 4294967295, found ";
        assert!(refused.starts_with(wanted), "{refused}");
    }
    assert_eq!(
        read::<HealthCheck>(r#"{"consecutive_failures":3.0}"#).consecutive_failures,
        Some(3)
    );
}

#[test]
fn a_long_value_is_not_repeated_in_the_error() {
    for json in [
        format!("\"{}\"", "x".repeat(1 << 20)),
        format!("{{\"type\":{{\"{0}\":1}}}}", "x".repeat(1 << 20)),
    ] {
        assert!(refusal::<Call>(&json).len() < 2000);
    }
    let json = format!(r#"{{"accept":"{}"}}"#, "é".repeat(1 << 20));
    assert!(refusal::<Call>(&json).len() < 300);
}

#[test]
fn broken_json_is_malformed_and_never_half_read() {
    for json in [
        "",
        " ",
        "{",
        "{\"type\"}",
        "{\"type\":\"KILL\",}",
        "{} x",
        "{}{}",
        "\u{feff}{}",
        r#"{"framework_id":{"value":"\ud800"}}"#,
        r#"{"framework_id":{"value":"\ud800\u0041"}}"#,
        "{\"framework_id\":{\"value\":\"a\nb\"}}",
        "{'type':1}",
    ] {
        let problem = decode_json::<Call>(json.as_bytes()).unwrap_err().problem;
        assert!(matches!(problem, Problem::Malformed { .. }), "{json}: {problem}");
    }
    let problem =
        decode_json::<Call>(b"{\"framework_id\":{\"value\":\"\xff\"}}").unwrap_err().problem;
    assert!(matches!(problem, Problem::Malformed { .. }), "{problem}");
}

#[test]
fn nesting_a_million_deep_is_refused_wherever_it_is() {
    for (open, wrap) in [
        ("[", ("", "")),
        ("{\"a\":", ("", "")),
        ("[", ("{\"unknown\":", "}")),
        ("{\"kill\":", ("{\"accept\":", "}")),
        ("{\"parent\":", ("", "")),
    ] {
        let json = format!("{}{}{}", wrap.0, open.repeat(1_000_000), wrap.1);
        assert!(decode_json::<Call>(json.as_bytes()).is_err());
        assert!(decode_json::<tepui_wire::v1::ContainerId>(json.as_bytes()).is_err());
    }
}

#[test]
fn the_depth_limit_is_exact() {
    let nested = |levels: usize| {
        let inner = r#"{"value":"c"}"#.to_owned();
        (1..levels).fold(inner, |json, _| format!(r#"{{"value":"c","parent":{json}}}"#))
    };
    let id: tepui_wire::v1::ContainerId = read(&nested(MAX_JSON_DEPTH));
    assert_eq!(read::<tepui_wire::v1::ContainerId>(&written(&id)), id);
    let problem = decode_json::<tepui_wire::v1::ContainerId>(nested(MAX_JSON_DEPTH + 1).as_bytes());
    assert!(matches!(problem.unwrap_err().problem, Problem::TooDeep { limit: 64, .. }));
}

#[test]
fn extreme_but_legal_texts_are_read() {
    let keys: String = (0..100_000).map(|n| format!("\"k{n}\":1,")).collect();
    let call: Call = read(&format!(r#"{{{keys}"type":"REVIVE"}}"#));
    assert_eq!(call.r#type(), call::Type::Revive);
    let repeated = "\"type\":\"KILL\",\"suppress\":{\"roles\":[\"a\",\"b\"]},".repeat(100_000);
    let call: Call = read(&format!(r#"{{{repeated}"type":"REVIVE"}}"#));
    assert_eq!(call.suppress.unwrap().roles, ["a", "b"]);
    let digits = format!(r#"{{"refuse_seconds":1.{}}}"#, "3".repeat(100_000));
    let filters: Filters = read(&digits);
    assert!((filters.refuse_seconds.unwrap() - 4.0 / 3.0).abs() < 1e-15);
    let digits = format!(r#"{{"refuse_seconds":{}}}"#, "3".repeat(100_000));
    assert!(decode_json::<Filters>(digits.as_bytes()).is_err());
}

#[test]
fn bytes_are_base64_with_or_without_padding() {
    for text in ["aGk=", "aGk"] {
        let io: ProcessIo =
            read(&format!(r#"{{"type":"DATA","data":{{"type":"STDOUT","data":"{text}"}}}}"#));
        assert_eq!(io.r#type(), process_io::Type::Data);
        assert_eq!(io.data.unwrap().data.unwrap(), b"hi");
    }
}

#[test]
fn every_call_of_the_documented_examples_reads() {
    let _: executor::Call = read(
        r#"{"type":"SUBSCRIBE","executor_id":{"value":"e"},"framework_id":{"value":"f"},
            "subscribe":{"unacknowledged_updates":[],"unacknowledged_tasks":[]}}"#,
    );
    let call: master::Call =
        read(r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":5000000000}}}"#);
    assert_eq!(call.get_metrics.unwrap().timeout.unwrap().nanoseconds, 5_000_000_000);
    let resource: Resource = read(
        r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]}}"#,
    );
    assert_eq!(resource.ranges.unwrap().range[0].end, 32_000);
    let value: Value = read(r#"{"type":"SCALAR","scalar":{"value":4}}"#);
    assert_eq!(value.scalar.unwrap().value, 4.0);
}
