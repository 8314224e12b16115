//! Pulls from registries that behave, and from those that do not.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use support::fake::{Door, Fake, Fault};
use support::{Made, chain, ensure, layer, names, noise, quick, read};
use tempfile::TempDir;
use tepui_images::{Auth, DockerConfig, ImageRequest, Images, Platform, Settings, Stage};

struct Host {
    dir: TempDir,
    images: Images,
    registry: Fake,
}

impl Host {
    async fn new() -> Self {
        Self::with(quick()).await
    }

    async fn with(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(&dir.path().join("store"), settings).unwrap();
        Self { dir, images, registry: Fake::start().await }
    }

    /// Nothing unfinished lies about, and no layer but these many.
    fn holds(&self, layers: usize) {
        let root = self.dir.path().join("store");
        assert!(names(&root, "tmp").is_empty(), "{:?}", names(&root, "tmp"));
        assert_eq!(names(&root, "layers").len(), layers);
    }

    async fn ensure(&self, image: &str) -> Result<tepui_images::Prepared, String> {
        ensure(&self.images, &self.registry.name(image)).await
    }
}

fn two_layers() -> Made {
    Made::new(&[layer(&[("a", "1"), ("big", &noise(300_000, 1))]), layer(&[("b", "2")])])
}

#[tokio::test]
async fn what_is_here_does_not_stand_in_for_an_image_that_is_wanted_anew() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    host.ensure("web").await.unwrap();
    let mut request = ImageRequest::new(host.registry.name("web"));
    request.fresh = true;
    host.images.ensure(&request, |_| {}).await.unwrap();
    host.registry.fault("/manifests/", Fault::Status(404, u32::MAX));
    let refused = host.images.ensure(&request, |_| {}).await.unwrap_err();
    let told = chain(&refused);
    let begins = format!("image '{}:latest' is here, but is to be pulled anew", request.reference);
    assert!(told.starts_with(&begins) && told.contains("does not have"), "{told}");
    request.fresh = false;
    host.images.ensure(&request, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_present_image_costs_no_request() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    let image = host.ensure("web").await.unwrap();
    assert_eq!(read(&image, "b").unwrap(), "2");
    let before = host.registry.asked("").len();
    for _ in 0..10 {
        host.ensure("web").await.unwrap();
    }
    assert_eq!(host.registry.asked("").len(), before);
    host.holds(2);
}

#[tokio::test]
async fn a_forced_pull_asks_and_takes_only_what_is_new() {
    let host = Host::new().await;
    let base = layer(&[("a", "1")]);
    host.registry.offer("web", "latest", &Made::new(&[base.clone(), layer(&[("v", "1")])]));
    let old = host.ensure("web").await.unwrap();
    let newer = Made::new(&[base, layer(&[("v", "2")])]);
    host.registry.offer("web", "latest", &newer);
    assert_eq!(host.ensure("web").await.unwrap().digest(), old.digest());
    let blobs = host.registry.asked("/blobs/").len();
    let request = ImageRequest { fresh: true, ..ImageRequest::new(host.registry.name("web")) };
    let new = host.images.ensure(&request, |_| {}).await.unwrap();
    assert_eq!((read(&old, "v").unwrap(), read(&new, "v").unwrap()), ("1".into(), "2".into()));
    assert_eq!(host.registry.asked("/blobs/").len() - blobs, 2, "configuration and one layer");
    let blobs = host.registry.asked("/blobs/").len();
    host.images.ensure(&request, |_| {}).await.unwrap();
    assert_eq!(host.registry.asked("/blobs/").len(), blobs, "nothing is new");
    assert_eq!(host.ensure("web").await.unwrap().digest(), new.digest());
    host.holds(3);
}

#[tokio::test]
async fn many_who_want_one_image_share_one_pull() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    let gate = host.registry.gate();
    let wanting: Vec<_> = (0..20)
        .map(|_| {
            let (images, name) = (host.images.clone(), host.registry.name("web"));
            tokio::spawn(async move { ensure(&images, &name).await.unwrap().digest().clone() })
        })
        .collect();
    host.registry.wait_for("/blobs/", 1).await;
    let pulls = host.images.pulls();
    assert_eq!((pulls.len(), &pulls[0].image), (1, &host.registry.name("web:latest")));
    gate.add_permits(100);
    for wanting in wanting {
        wanting.await.unwrap();
    }
    assert_eq!(host.registry.asked("/manifests/").len(), 1);
    assert_eq!(host.registry.asked("/blobs/").len(), 3);
    assert_eq!(host.images.stats().pulls(), 1);
    assert!(host.images.pulls().is_empty());
}

#[tokio::test]
async fn images_that_share_a_layer_pull_it_once_even_together() {
    let host = Host::new().await;
    let base = layer(&[("base", &noise(200_000, 3))]);
    let (a, b) = (
        Made::new(&[base.clone(), layer(&[("v", "a")])]),
        Made::new(&[base, layer(&[("v", "b")])]),
    );
    host.registry.offer("a", "latest", &a);
    host.registry.offer("b", "latest", &b);
    let (one, two) = tokio::join!(host.ensure("a"), host.ensure("b"));
    assert_eq!(
        (read(&one.unwrap(), "v"), read(&two.unwrap(), "v")),
        (Some("a".into()), Some("b".into()))
    );
    assert_eq!(host.registry.asked(&a.layers[0]).len(), 1);
    host.holds(3);
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_leaves_nothing() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    let _gate = host.registry.gate();
    let (images, name) = (host.images.clone(), host.registry.name("web"));
    let wanting = tokio::spawn(async move { ensure(&images, &name).await.map(drop) });
    host.registry.wait_for("/blobs/", 1).await;
    wanting.abort();
    assert!(wanting.await.unwrap_err().is_cancelled());
    while host.images.stats().failures() == 0 {
        tokio::task::yield_now().await;
    }
    host.holds(0);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_ended() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    host.registry.fault(&made.layers[0], Fault::Cut(50_000, 2));
    host.ensure("web").await.unwrap();
    let asked = host.registry.asked(&made.layers[0]);
    assert_eq!(asked.len(), 3);
    assert!(asked[1].contains("bytes=50000-") && asked[2].contains("bytes=100000-"), "{asked:?}");
    host.holds(2);
}

#[tokio::test]
async fn a_registry_without_ranges_begins_again() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    host.registry.fault(&made.layers[0], Fault::Cut(50_000, 1));
    host.registry.fault(&made.layers[0], Fault::NoRanges);
    host.ensure("web").await.unwrap();
    assert_eq!(host.registry.asked(&made.layers[0]).len(), 2);
}

#[tokio::test]
async fn a_registry_that_stalls_is_asked_again_and_then_given_up() {
    let mut settings = quick();
    settings.limits.stall = Duration::from_millis(100);
    settings.limits.attempts = 2;
    let host = Host::with(settings).await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    host.registry.fault(&made.layers[0], Fault::Stall(1000, 1));
    host.ensure("web").await.unwrap();
    let other = Made::new(&[layer(&[("other", &noise(5000, 9))])]);
    host.registry.offer("other", "latest", &other);
    host.registry.fault(&other.layers[0], Fault::Stall(0, 100));
    let error = host.ensure("other").await.unwrap_err();
    assert!(error.contains("failed to get the layer"), "{error}");
    assert_eq!(host.registry.asked(&other.layers[0]).len(), 2);
    host.holds(2);
}

#[tokio::test]
async fn a_pull_has_its_time() {
    let mut settings = quick();
    settings.limits.total = Duration::from_millis(100);
    let host = Host::with(settings).await;
    host.registry.offer("web", "latest", &two_layers());
    let _gate = host.registry.gate();
    let error = host.ensure("web").await.unwrap_err();
    assert!(error.contains("took longer than"), "{error}");
}

#[tokio::test]
async fn errors_that_pass_are_outlived_and_others_told_at_once() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    host.registry.fault("/manifests/", Fault::Status(503, 2));
    host.registry.fault("/blobs/", Fault::Status(429, 1));
    host.ensure("web").await.unwrap();
    assert_eq!(host.registry.asked("/manifests/").len(), 3);
    let error = host.ensure("none").await.unwrap_err();
    assert!(error.contains("none:latest: manifest unknown"), "{error}");
    assert_eq!(host.registry.asked("/none/").len(), 1);
    host.registry.offer("web", "tea", &two_layers());
    host.registry.fault("/manifests/", Fault::Status(418, 1));
    let error = host.ensure("web:tea").await.unwrap_err();
    assert!(error.contains("418") && error.contains("come back later"), "{error}");
}

#[tokio::test]
async fn a_changed_layer_is_never_unpacked() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    host.registry.fault(&made.layers[1], Fault::Corrupt(1));
    host.ensure("web").await.unwrap();
    let other = Made::new(&[layer(&[("other", "x")])]);
    host.registry.offer("other", "latest", &other);
    host.registry.fault(&other.layers[0], Fault::Corrupt(100));
    let error = host.ensure("other").await.unwrap_err();
    assert!(error.contains("with digest"), "{error}");
    host.registry.mend();
    host.registry.fault(&other.config, Fault::Corrupt(100));
    let error = host.ensure("other").await.unwrap_err();
    assert!(error.contains("with digest"), "{error}");
    host.holds(2);
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    let name = format!("web@{}", made.digest());
    host.ensure(&name).await.unwrap();
    let other = Made::new(&[layer(&[("x", "x")])]);
    host.registry.put(&format!("/v2/web/manifests/{}", other.digest()), &made.manifest);
    let error = host.ensure(&format!("web@{}", other.digest())).await.unwrap_err();
    assert!(error.contains("the manifest") && error.contains("with digest"), "{error}");
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let host = Host::new().await;
    let mut made = Made::new(&[layer(&[("a", "1")])]);
    // The digest of the transfer is right, that of the contents is not.
    let other = made.add(support::gzip(&layer(&[("a", "2")])));
    made.layers = vec![other];
    made.describe();
    host.registry.offer("web", "latest", &made);
    let error = host.ensure("web").await.unwrap_err();
    assert!(error.contains("not what the configuration says"), "{error}");
    host.holds(0);
}

#[tokio::test]
async fn answers_without_end_are_not_kept_in_memory() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    host.registry.fault("/manifests/", Fault::Endless);
    let error = host.ensure("web").await.unwrap_err();
    assert!(error.contains("more than 4194304 bytes"), "{error}");
    host.registry.mend();
    host.registry.fault(&made.layers[0], Fault::Endless);
    let error = host.ensure("web").await.unwrap_err();
    assert!(error.contains("more than"), "{error}");
    host.registry.mend();
    host.registry.fault(&made.config, Fault::Endless);
    assert!(host.ensure("web").await.unwrap_err().contains("more than"));
    host.registry.mend();
    host.registry.door(Door::FreeTokens);
    host.registry.put("/token", b"");
    host.ensure("web").await.unwrap();
}

#[tokio::test]
async fn an_index_leads_to_the_build_for_this_host() {
    let host = Host::new().await;
    let mine = two_layers();
    let other = Made::of(
        &[layer(&[("s390x", "")])],
        "",
        &Platform { os: "linux".into(), architecture: "s390x".into(), variant: None },
    );
    host.registry.offer("web", "mine", &mine);
    host.registry.offer("web", "other", &other);
    let here = Platform::of_host();
    let entry = |made: &Made, architecture: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},
                "platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
            made.digest(),
            made.manifest.len()
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",
            "manifests":[{},{}]}}"#,
        entry(&other, "s390x"),
        entry(&mine, &here.architecture)
    );
    host.registry.put("/v2/web/manifests/latest", index.as_bytes());
    let image = host.ensure("web").await.unwrap();
    assert_eq!(*image.digest(), mine.digest());
    let error = host.ensure("web:other").await.unwrap_err();
    assert!(error.contains("linux/s390x"), "{error}");
}

#[tokio::test]
async fn credentials_open_the_door_and_are_not_shared() {
    for door in [Door::Basic("user:secret"), Door::Tokens("user:secret")] {
        let host = Host::new().await;
        host.registry.offer("web", "latest", &two_layers());
        host.registry.door(door.clone());
        let error = host.ensure("web").await.unwrap_err();
        assert!(error.contains("an anonymous client") || error.contains("no token"), "{error}");
        let with = |password: &str| {
            let auth = Auth::Basic { user: "user".into(), password: password.into() };
            let credentials = DockerConfig::single(&host.registry.address, auth);
            ImageRequest {
                credentials: Some(credentials),
                ..ImageRequest::new(host.registry.name("web"))
            }
        };
        let error = host.images.ensure(&with("wrong"), |_| {}).await.unwrap_err();
        assert!(!chain(&error).contains("wrong:"), "{error}");
        host.images.ensure(&with("secret"), |_| {}).await.unwrap();
        // Whoever forces a pull shows that it may pull.
        let request = ImageRequest { fresh: true, ..ImageRequest::new(host.registry.name("web")) };
        assert!(host.images.ensure(&request, |_| {}).await.is_err(), "{door:?}");
    }
}

#[tokio::test]
async fn one_token_serves_a_whole_pull() {
    let host = Host::new().await;
    host.registry.offer("web", "latest", &two_layers());
    host.registry.door(Door::FreeTokens);
    host.ensure("web").await.unwrap();
    assert_eq!(host.registry.asked("/token").len(), 1);
    assert!(host.registry.asked("/blobs/").iter().all(|line| line.ends_with("Bearer")));
}

#[tokio::test]
async fn the_agents_own_credentials_serve_those_who_bring_none() {
    let registry = Fake::start().await;
    registry.offer("web", "latest", &two_layers());
    registry.door(Door::Basic("host:key"));
    let text =
        format!(r#"{{"auths":{{"http://{}/v1/":{{"auth":"aG9zdDprZXk="}}}}}}"#, registry.address);
    let docker_config = DockerConfig::parse(text.as_bytes()).unwrap();
    let host = Host::with(Settings { docker_config, ..quick() }).await;
    ensure(&host.images, &registry.name("web")).await.unwrap();
}

#[tokio::test]
async fn a_password_does_not_follow_a_redirect_elsewhere() {
    let host = Host::new().await;
    let storage = Fake::start().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    storage.offer("web", "latest", &made);
    host.registry.door(Door::Basic("user:secret"));
    let to = format!("http://{}/v2/web/blobs/{}", storage.address, made.layers[0]);
    host.registry.fault(&made.layers[0], Fault::Redirect(to));
    let auth = Auth::Basic { user: "user".into(), password: "secret".into() };
    let request = ImageRequest {
        credentials: Some(DockerConfig::single(&host.registry.address, auth)),
        ..ImageRequest::new(host.registry.name("web"))
    };
    host.images.ensure(&request, |_| {}).await.unwrap();
    let asked = storage.asked("/blobs/");
    assert!(asked.len() == 1 && asked[0].ends_with(" -"), "{asked:?}");
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_its_failure_passed_over() {
    let (mirror, broken) = (Fake::start().await, Fake::start().await);
    let made = two_layers();
    mirror.offer("library/web", "latest", &made);
    broken.fault("/v2/", Fault::Status(404, 100));
    let mut settings = quick();
    let mirrors = vec![broken.address.clone(), mirror.address.clone()];
    settings.mirrors.insert("docker.io".into(), mirrors);
    let host = Host::with(settings).await;
    let image = ensure(&host.images, "web").await.unwrap();
    assert_eq!(*image.digest(), made.digest());
    assert_eq!(broken.asked("/manifests/").len(), 1);
    assert_eq!(host.images.list()[0].names, ["docker.io/library/web:latest"]);
}

#[tokio::test]
async fn progress_tells_bytes_and_layers() {
    let host = Host::new().await;
    let made = two_layers();
    host.registry.offer("web", "latest", &made);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let request = ImageRequest::new(host.registry.name("web"));
    let hear = heard.clone();
    host.images.ensure(&request, move |progress| hear.lock().push(progress.clone())).await.unwrap();
    let heard = heard.lock();
    let at = heard.iter().find(|p| p.stage == Stage::Layers).unwrap();
    assert_eq!(at.layers.len(), 2);
    assert_eq!(at.layers[0].total_bytes, made.blobs[&made.layers[0]].len() as u64);
    let last = heard.last().unwrap();
    assert!(last.to_string().contains("of 2 layers"), "{last}");
}

mod real_registry {
    use super::*;
    use support::real::{Registry, lacks};

    #[tokio::test]
    async fn an_image_is_pulled_from_a_registry() {
        if lacks(&["docker-registry", "skopeo"]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let made = Made::new(&[layer(&[("a", "1")]), layer(&[(".wh.a", ""), ("b", "2")])]);
        made.write_layout(&dir.path().join("web"), "1");
        let registry = Registry::start("");
        registry.push(&dir.path().join("web"), "1", "shop/web:1", &[]);
        let images = Images::open(&dir.path().join("store"), quick()).unwrap();
        let image = ensure(&images, &format!("{}/shop/web:1", registry.address)).await.unwrap();
        assert_eq!(read(&image, "b").unwrap(), "2");
        assert_eq!(*image.digest(), made.digest());
        assert!(images.stats().downloaded_bytes() > 0);
        let error = ensure(&images, &format!("{}/shop/none:1", registry.address)).await;
        let error = error.unwrap_err();
        assert!(error.contains("shop/none:1") && error.contains("does not have"), "{error}");
        // As Docker's own form, with its media types.
        registry.push(&dir.path().join("web"), "1", "shop/docker:1", &["--format", "v2s2"]);
        let image = ensure(&images, &format!("{}/shop/docker:1", registry.address)).await.unwrap();
        assert_eq!(read(&image, "b").unwrap(), "2");
    }

    #[tokio::test]
    async fn a_registry_with_passwords_gives_to_those_who_have_one() {
        if lacks(&["docker-registry", "skopeo", "htpasswd"]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        two_layers().write_layout(&dir.path().join("web"), "1");
        let registry = Registry::with_password(dir.path(), "shop", "geheim");
        registry.push(&dir.path().join("web"), "1", "web:1", &["--dest-creds", "shop:geheim"]);
        let images = Images::open(&dir.path().join("store"), quick()).unwrap();
        let name = format!("{}/web:1", registry.address);
        let error = ensure(&images, &name).await.unwrap_err();
        assert!(error.contains("an anonymous client"), "{error}");
        let auth = Auth::Basic { user: "shop".into(), password: "geheim".into() };
        let credentials = Some(DockerConfig::single(&registry.address, auth));
        let request = ImageRequest { credentials, ..ImageRequest::new(&name) };
        images.ensure(&request, |_| {}).await.unwrap();
    }

    #[tokio::test]
    async fn a_registry_that_wants_signed_tokens_gets_one_from_their_server() {
        if lacks(&["docker-registry", "skopeo"]) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        two_layers().write_layout(&dir.path().join("web"), "1");
        let issuer = support::real::TokenServer::start("shop", "geheim").await;
        let registry = Registry::with_tokens(dir.path(), &issuer);
        let layout = dir.path().join("web");
        let push = registry.clone_address();
        tokio::task::spawn_blocking(move || {
            Registry::push_to(&push, &layout, "1", "web:1", &["--dest-creds", "shop:geheim"]);
        })
        .await
        .unwrap();
        let images = Images::open(&dir.path().join("store"), quick()).unwrap();
        let name = format!("{}/web:1", registry.address);
        let error = ensure(&images, &name).await.unwrap_err();
        assert!(error.contains("no token was given"), "{error}");
        let auth = Auth::Basic { user: "shop".into(), password: "geheim".into() };
        let credentials = Some(DockerConfig::single(&registry.address, auth));
        let request = ImageRequest { credentials, ..ImageRequest::new(&name) };
        images.ensure(&request, |_| {}).await.unwrap();
    }
}
