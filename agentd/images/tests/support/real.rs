//! Debian's `docker-registry` on loopback, and the tools that fill it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use tempfile::TempDir;

/// A registry of its own process, which ends with the test.
pub struct Registry {
    child: Child,
    pub address: String,
    _folder: TempDir,
}

/// The tools that are not here; a test that needs them says so and ends.
pub fn lacks(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |tool: &&&str| std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let missing: Vec<&&str> = tools.iter().filter(|tool| !has(tool)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed (./test installs them)");
    }
    !missing.is_empty()
}

impl Registry {
    /// Starts one, with this at the end of its configuration.
    pub fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n{more}",
            folder.path().join("data").display()
        );
        let path = folder.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve".as_ref(), path.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split_once("listening on ")?.1.to_owned();
                Some(rest.split(['"', ' ']).next()?.to_owned())
            })
            .expect("docker-registry says where it listens");
        // It would block when nobody reads what it writes.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _folder: folder }
    }

    pub fn with_password(dir: &Path, user: &str, password: &str) -> Self {
        let path = dir.join("htpasswd");
        run(Command::new("htpasswd").args(["-B", "-b", "-c"]).arg(&path).args([user, password]));
        let path = path.display();
        Self::start(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"))
    }

    pub fn with_tokens(dir: &Path, issuer: &TokenServer) -> Self {
        let path = dir.join("issuer.pem");
        fs::write(&path, &issuer.certificate).unwrap();
        Self::start(&format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: shop-registry\n    \
             issuer: shop-issuer\n    rootcertbundle: {}\n",
            issuer.address,
            path.display()
        ))
    }

    pub fn clone_address(&self) -> String {
        self.address.clone()
    }

    /// Copies an image of a layout into the registry.
    pub fn push(&self, layout: &Path, tag: &str, name: &str, more: &[&str]) {
        Self::push_to(&self.address, layout, tag, name, more);
    }

    pub fn push_to(address: &str, layout: &Path, tag: &str, name: &str, more: &[&str]) {
        run(Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
            .args(more)
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{address}/{name}")));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A token server whose tokens a real registry verifies: JWTs with ES256 and its certificate.
pub struct TokenServer {
    pub address: String,
    pub certificate: String,
}

struct Issuer {
    key: EcdsaKeyPair,
    der: Vec<u8>,
    login: String,
}

impl TokenServer {
    pub async fn start(user: &str, password: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut request = rcgen::CertificateParams::new(vec!["shop-issuer".into()]).unwrap();
        request.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = request.self_signed(&pair).unwrap();
        let random = SystemRandom::new();
        let pkcs8 = pair.serialize_der();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap();
        let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let issuer = Arc::new(Issuer { key, der: certificate.der().to_vec(), login });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = Router::new().route("/token", get(give)).with_state(issuer);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, certificate: certificate.pem() }
    }
}

async fn give(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<serde_json::Value>, StatusCode> {
    let login = headers.get("authorization").and_then(|value| value.to_str().ok());
    if login != Some(&issuer.login) || query["service"] != "shop-registry" {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let access: Vec<serde_json::Value> = query
        .get("scope")
        .iter()
        .filter_map(|scope| {
            let mut parts = scope.split(':');
            let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
            let actions: Vec<&str> = actions.split(',').collect();
            Some(serde_json::json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let header = serde_json::json!({
        "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&issuer.der)],
    });
    let claims = serde_json::json!({
        "iss": "shop-issuer", "sub": "shop", "aud": "shop-registry", "exp": now + 300,
        "nbf": now - 10, "iat": now, "jti": now.to_string(), "access": access,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    Ok(Json(serde_json::json!({"token": token, "expires_in": 300})))
}
