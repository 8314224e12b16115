// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use tepui_wire::v1;

use super::*;
use crate::describe;

fn image(entrypoint: &[&str], command: &[&str]) -> ImageConfig {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ImageConfig {
        environment: vec!["PATH=/img".into(), "A=image".into()],
        entrypoint: list(entrypoint),
        command: list(command),
        working_directory: "/srv".into(),
        user: "web".into(),
        stop_signal: Some("SIGQUIT".into()),
    }
}

fn container(docker: bool, shell: bool, value: Option<&str>, arguments: &[&str]) -> Container {
    let command = v1::CommandInfo {
        shell: Some(shell),
        value: value.map(str::to_owned),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..v1::CommandInfo::default()
    };
    let mut info = v1::ContainerInfo::default();
    if docker {
        info.set_type(v1::container_info::Type::Docker);
        let image = v1::container_info::DockerInfo { image: "i".into(), ..Default::default() };
        info.docker = Some(image);
    } else {
        info.set_type(v1::container_info::Type::Mesos);
        let docker = v1::image::Docker { name: "i".into(), ..Default::default() };
        let mut image = v1::Image { docker: Some(docker), ..v1::Image::default() };
        image.set_type(v1::image::Type::Docker);
        info.mesos = Some(v1::container_info::MesosInfo { image: Some(image) });
    }
    describe(&info, &command, Some("root"), false).unwrap().unwrap()
}

fn line(container: &Container, image: &ImageConfig) -> String {
    match process(container, image, &[]) {
        Ok(process) => process.argv.join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_matrix_of_mesos_is_kept() {
    const NOTHING: &str = "neither the command nor the image says what to execute";
    let images =
        [image(&[], &[]), image(&[], &["c0", "c1"]), image(&["e0"], &[]), image(&["e0"], &["c0"])];
    for (shell, value, arguments, expected) in [
        (false, None, &[][..], [NOTHING, "c0 c1", "e0", "e0 c0"]),
        (false, None, &["x", "y"], [NOTHING, "c0 x y", "e0 x y", "e0 x y"]),
        (false, Some("v"), &[], ["v", "v", "v", "v"]),
        (false, Some("v"), &["v", "y"], ["v y", "v y", "v y", "v y"]),
        (true, Some("a | b"), &[], ["/bin/sh -c a | b"; 4]),
        (true, None, &[], [NOTHING; 4]),
    ] {
        for (image, expected) in images.iter().zip(expected) {
            let container = container(false, shell, value, arguments);
            assert_eq!(line(&container, image), expected, "{shell} {value:?} {arguments:?}");
        }
    }
}

#[test]
fn a_docker_container_is_started_as_docker_would() {
    let image = image(&["e0", "e1"], &["c0"]);
    assert_eq!(line(&container(true, false, None, &[]), &image), "e0 e1 c0");
    assert_eq!(line(&container(true, false, None, &["x"]), &image), "e0 e1 x");
    assert_eq!(line(&container(true, false, Some("v"), &["x"]), &image), "e0 e1 v x");
    assert_eq!(line(&container(true, true, Some("v"), &[]), &image), "/bin/sh -c v");
    let mut own = container(true, false, None, &["x"]);
    own.entry.entrypoint = Some("mine".into());
    assert_eq!(line(&own, &image), "mine x");
    own.entry.arguments.clear();
    assert_eq!(line(&own, &image), "mine");
}

#[test]
fn the_tasks_variables_win_over_the_images() {
    let task = [("A".to_owned(), "task".to_owned())];
    let process = process(&container(true, false, None, &["x"]), &image(&[], &[]), &task).unwrap();
    let last = |name: &str| {
        process.environment.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v.as_str())
    };
    assert_eq!((last("A"), last("PATH")), (Some("task"), Some("/img")));
    assert_eq!(process.working_directory, "/srv");
    assert_eq!(process.stop_signal.as_deref(), Some("SIGQUIT"));
}

#[test]
fn dockers_user_is_the_images_and_mesos_runs_as_the_framework_says() {
    let user = |docker| {
        let container = container(docker, false, None, &["x"]);
        process(&container, &image(&[], &["c"]), &[]).unwrap().user
    };
    assert_eq!(user(true).as_deref(), Some("web"));
    assert_eq!(user(false).as_deref(), Some("root"));
}

#[test]
fn without_a_folder_of_its_own_mesos_begins_in_the_sandbox() {
    let bare = ImageConfig { working_directory: String::new(), ..image(&[], &["c"]) };
    let folder = |docker| {
        let container = container(docker, false, None, &[]);
        process(&container, &bare, &[]).unwrap().working_directory
    };
    assert_eq!((folder(true).as_str(), folder(false).as_str()), ("/", "/mnt/mesos/sandbox"));
}
