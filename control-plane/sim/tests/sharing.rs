//! The utilisation experiment, at a twelfth of its size. `UPDATE_GOLDEN=1` writes its table
//! anew; the change is then reviewed as a diff.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tepui_sim::Experiment;

#[test]
fn sharing_speeds_up_who_can_use_more_and_slows_nobody_down() {
    let sharing = Experiment { seed: 1, scale: 12 }.run().unwrap();
    let speed_ups: Vec<f64> = sharing.rows.iter().map(|row| row.speed_up()).collect();
    let [mix, large, iterative, gangs] = speed_ups[..] else { panic!("four frameworks") };
    assert!(mix > 1.1, "short jobs run beside long ones: {mix}");
    assert!(large > 1.5, "large jobs use what others leave: {large}");
    assert!(
        iterative > 1.1 && iterative < large,
        "iterations wait for their last task: {iterative}"
    );
    assert!((0.9..1.1).contains(&gangs), "gangs take what they need, no more: {gangs}");
    assert!(sharing.shared.cpus > sharing.alone.cpus + 0.1, "{sharing}");
    assert!(sharing.shared_seconds < sharing.alone_seconds);

    let text = sharing.to_string();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sharing.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    assert!(text == fs::read_to_string(&golden).unwrap_or_default(), "another table:\n{text}");
}

#[test]
fn a_scale_without_whole_quarters_is_refused() {
    let error = Experiment { seed: 1, scale: 5 }.run().unwrap_err();
    assert_eq!(error.to_string(), "the scale 5 does not divide the 24 hosts of a quarter");
}
