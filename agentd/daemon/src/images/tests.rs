use super::*;

fn layout(dir: &std::path::Path) -> String {
    use tepui_images::Digest;
    let blobs = dir.join("web/blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let add = |bytes: &[u8], kind: &str| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, bytes.len())
    };
    let config = add(br#"{"config":{"Cmd":["serve"]},"rootfs":{"diff_ids":[]}}"#, "config");
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
    let manifest = add(manifest.as_bytes(), "manifest");
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#);
    std::fs::write(dir.join("web/index.json"), index).unwrap();
    std::fs::write(dir.join("web/oci-layout"), "{}").unwrap();
    format!("oci:{}", dir.join("web").display())
}

fn wish(reference: &str) -> ImageWish {
    ImageWish { reference: reference.to_owned(), fresh: false, auth: None }
}

fn open(dir: &std::path::Path) -> ImageStore {
    ImageStore::open(ImageKeys::default().resolve(dir).unwrap()).unwrap()
}

#[tokio::test]
async fn a_runs_images_stay_until_it_is_over_also_for_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let name = layout(dir.path());
    let (run, other) = (ContainerId::parse("r1").unwrap(), ContainerId::parse("r10").unwrap());
    {
        let store = open(dir.path());
        let images = store.bring(&run, &[wish(&name), wish(&name)], |_, _| {}).await.unwrap();
        assert_eq!((images.len(), images[0].config().cmd.len()), (2, 1));
        store.bring(&other, &[wish(&name)], |_, _| {}).await.unwrap();
    }
    let store = open(dir.path());
    store.release_others(std::slice::from_ref(&run));
    store.prune(vec![]).unwrap();
    assert_eq!((store.of_run(&run).len(), store.of_run(&other).len()), (2, 0));
    store.release(&run);
    assert!(store.of_run(&run).is_empty());
    store.prune(vec![name.clone()]).unwrap();
    assert_eq!(tepui_agent_api::ImageFigures::from(&store).images, 1);
    store.prune(vec![]).unwrap();
    assert_eq!(tepui_agent_api::ImageFigures::from(&store).images, 0);
}

#[tokio::test]
async fn a_run_gets_all_of_its_images_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let name = layout(dir.path());
    let store = open(dir.path());
    let run = ContainerId::parse("r1").unwrap();
    let wishes = [wish(&name), wish("oci:/nowhere")];
    let error = store.bring(&run, &wishes, |_, _| {}).await.unwrap_err();
    assert!(error.contains("oci:/nowhere") && error.contains("No such file"), "{error}");
    assert!(store.of_run(&run).is_empty());
    let bad = ImageWish { auth: Some(RegistryAuth::DockerConfig("[".into())), ..wish("q.io/a") };
    let error = store.bring(&run, &[bad], |_, _| {}).await.unwrap_err();
    assert!(error.contains("Docker configuration"), "{error}");
}
