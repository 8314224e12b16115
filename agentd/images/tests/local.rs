//! Images from layouts and archives, and what the store makes of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use support::{Made, ensure, layer, names, quick, read};
use tepui_images::Images;

#[tokio::test]
async fn an_image_of_a_layout_is_unpacked_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = Made::new(&[layer(&[("etc/a", "1"), ("etc/b", "1")]), layer(&[("etc/b", "2")])]);
    made.write_layout(&dir.path().join("web"), "1.0");
    let name = format!("oci:{}:1.0", dir.path().join("web").display());
    let root = dir.path().join("store");
    {
        let images = Images::open(&root, quick()).unwrap();
        let image = ensure(&images, &name).await.unwrap();
        assert_eq!(*image.digest(), made.digest());
        assert_eq!(image.layers().len(), 2);
        assert_eq!(
            (read(&image, "etc/a").unwrap(), read(&image, "etc/b").unwrap()),
            ("1".into(), "2".into())
        );
        assert_eq!(image.config().cmd, ["/bin/sh"]);
        assert!(names(&root, "tmp").is_empty());
    }
    // The next process needs neither layout nor network.
    fs::remove_dir_all(dir.path().join("web")).unwrap();
    let images = Images::open(&root, quick()).unwrap();
    let image = ensure(&images, &name).await.unwrap();
    assert_eq!(read(&image, "etc/b").unwrap(), "2");
    assert_eq!(images.list()[0].names, [name]);
}
