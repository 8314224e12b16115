use tepui_images::ImageRequest;

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

#[tokio::test]
async fn an_operator_removes_idle_images_but_for_those_that_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let name = layout(dir.path());
    let keys = ImageKeys { local: vec![dir.path().to_owned()], ..ImageKeys::default() };
    let store = ImageStore::open(keys.resolve(dir.path()).unwrap()).unwrap();
    let request = ImageRequest::new(&name);
    let held = store.images().ensure(&request, |_| {}).await.unwrap();
    let here = || tepui_agent_api::ImageFigures::from(&store);
    store.images().pin(held.digest(), "run-1/0").unwrap();
    let (images, pulls) = store.listed();
    assert_eq!((&images[0].names[..], pulls.len()), (&[name.clone()][..], 0));
    assert_eq!((&images[0].held_by[..]), ["run-1/0"]);
    store.images().unpin("run-1/0").unwrap();
    store.prune(vec![]).unwrap();
    assert_eq!(here().images, 1);
    drop(held);
    store.prune(vec![name]).unwrap();
    assert_eq!(here().images, 1);
    store.prune(vec![]).unwrap();
    assert_eq!((here().images, here().pulls), (0, 1));
    assert_eq!(here().recent_pulls_ms.len(), 1);
}
