use super::*;
use crate::behaviour::End;

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn an_empty_specification_expects_success_and_no_particular_output() {
    assert_eq!(parse("{}").unwrap(), Test::default());
}

#[test]
fn the_plain_form_is_read_in_full() {
    let test = parse(
        r#"{"args": ["a"], "env": {"K": "v"}, "dirs": ["d"], "root": "r", "exit_code": 3, "stdout": "out",
            "stderr": "err", "wasi_functions": ["fd_read"]}"#,
    );
    let wanted = Test {
        args: vec!["a".into()],
        env: [("K".into(), "v".into())].into(),
        root: Some("r".into()),
        dirs: vec!["d".into()],
        exit_code: 3,
        stdout: Output::Is("out".into()),
        stderr: Output::Is("err".into()),
        ..Test::default()
    };
    assert_eq!(test.unwrap(), wanted);
}

#[test]
fn operations_are_gathered_into_one_run() {
    let test = parse(
        r#"{"operations": [
            {"type": "run", "args": ["a"], "dirs": ["d"]},
            {"type": "write", "id": "stdin", "payload": "in"},
            {"type": "read", "payload": "one "},
            {"type": "read", "id": "stderr", "payload": "err"},
            {"type": "read", "id": "stdout", "payload": "two"},
            {"type": "wait", "exit_code": 1}
        ]}"#,
    );
    let wanted = Test {
        args: vec!["a".into()],
        dirs: vec!["d".into()],
        stdin: "in".into(),
        exit_code: 1,
        stdout: Output::Begins("one two".into()),
        stderr: Output::Begins("err".into()),
        ..Test::default()
    };
    assert_eq!(test.unwrap(), wanted);
}

#[test]
fn what_this_runner_does_not_do_is_named_and_skipped() {
    for (text, what) in [
        (r#"{"proposals": ["http"]}"#, "proposals [\"http\"]"),
        (r#"{"world": "wasi:http/service", "operations": []}"#, "wasi:http/service"),
        (r#"{"operations": [{"type": "run"}, {"type": "connect"}]}"#, "connect"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, SpecificationError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn mistakes_in_a_specification_are_told() {
    assert!(error("[]").contains("expected a map"));
    assert!(error(r#"{"exitcode": 1}"#).contains("unknown field `exitcode`"));
    assert!(error(r#"{"operations": [], "args": []}"#).contains("`args`"));
    assert!(error(r#"{"operations": [{"type": "run"}]}"#).contains("`wait` is missing"));
    assert!(error(r#"{"operations": [{"type": "wait"}, {"type": "run"}]}"#).contains("first"));
    assert!(error(r#"{"operations": [{"type": "run"}, {"type": "run"}]}"#).contains("once"));
    assert!(error(r#"{"operations": [{"type": "jump"}]}"#).contains("jump"));
}

#[test]
fn each_expectation_that_is_not_met_is_a_reason() {
    let test = parse(r#"{"exit_code": 1, "stdout": "a"}"#).unwrap();
    let did = |end, stdout: &[u8]| Behaviour { end, stdout: stdout.to_vec(), ..Behaviour::default() };
    assert_eq!(test.judge(&did(End::Status(1), b"a")), Outcome::Passed);
    for (end, stdout, count) in [(End::Status(1), &b"ab"[..], 1), (End::Status(0), b"a", 1), (End::Trap, b"", 2)] {
        let Outcome::Failed(reasons) = test.judge(&did(end.clone(), stdout)) else { panic!("{end} passed") };
        assert_eq!(reasons.len(), count, "{reasons:?}");
    }
}

#[test]
fn what_is_read_of_a_stream_is_only_its_beginning() {
    let test = parse(r#"{"operations": [{"type": "run"}, {"type": "read", "payload": "a"}, {"type": "wait"}]}"#);
    let did = Behaviour { stdout: b"ab".to_vec(), ..Behaviour::default() };
    assert_eq!(test.unwrap().judge(&did), Outcome::Passed);
}
