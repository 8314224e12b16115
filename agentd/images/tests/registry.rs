//! A real registry: Debian's docker-registry on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use support::real::{Registry, lacks};
use support::{Made, ensure, layer, quick, read};
use tepui_images::Images;

#[tokio::test]
async fn an_image_is_pulled_from_a_registry() {
    if lacks(&["docker-registry", "skopeo"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = Made::new(&[layer(&[("a", "1")]), layer(&[(".wh.a", ""), ("b", "2")])]);
    made.write_layout(&dir.path().join("web"), "1");
    let registry = Registry::start(None);
    registry.push(&dir.path().join("web"), "1", "shop/web:1", &[]);
    let images = Images::open(&dir.path().join("store"), quick()).unwrap();
    let image = ensure(&images, &format!("{}/shop/web:1", registry.address)).await.unwrap();
    assert_eq!(read(&image, "b").unwrap(), "2");
    assert_eq!(*image.digest(), made.digest());
    assert!(images.stats().downloaded_bytes() > 0);
    let error = ensure(&images, &format!("{}/shop/none:1", registry.address)).await.unwrap_err();
    assert!(error.contains("shop/none:1") && error.contains("has no"), "{error}");
}
