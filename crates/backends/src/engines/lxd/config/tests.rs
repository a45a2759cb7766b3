use super::*;

const FILE: &str = "
default-remote: far
remotes:
  far:
    addr: https://far.example:8443
    auth_type: tls
    project: web
    protocol: lxd
    public: false
  local:
    addr: unix:///elsewhere/unix.socket
    public: false
  near:
    addr: unix:///near/unix.socket
  images:
    addr: https://images.example
    protocol: simplestreams
    public: true
  login:
    addr: https://login.example:8443
    auth_type: oidc
  odd:
    addr: gopher://odd
  empty:
aliases: {}
";

struct Home(tempfile::TempDir);

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Home(directory)
    }

    fn path(&self, rest: &str) -> String {
        self.0.path().join(rest).display().to_string()
    }

    /// With these variables, and a global directory that is not the machine's.
    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let mut all = vec![
            ("HOME".to_owned(), self.path("")),
            ("LXD_GLOBAL_CONF".to_owned(), self.path("etc/lxd")),
            ("INCUS_GLOBAL_CONF".to_owned(), self.path("etc/incus")),
        ];
        all.extend(variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Environment::new(all)
    }
}

#[test]
fn the_default_remote_is_the_command_lines() {
    let home = Home::new(&[
        (".config/lxc/config.yml", FILE),
        (".config/lxc/client.crt", "c"),
        (".config/lxc/client.key", "k"),
        (".config/lxc/servercerts/far.crt", "s"),
        (".config/incus/config.yml", FILE),
    ]);
    let environment = home.environment(&[]);
    let found = infer(&environment, Product::Lxd, None).unwrap();
    let lxc = |file: &str| home.path(&format!(".config/lxc/{file}"));
    assert_eq!(
        found.uri,
        format!(
            "lxd+https://far.example:8443?server_certificate={}&certificate={}&key={}&project=web",
            lxc("servercerts/far.crt"),
            lxc("client.crt"),
            lxc("client.key")
        )
    );
    assert_eq!((found.remote.as_str(), found.origin), ("far", lxc("config.yml")));
    let named = infer(&environment, Product::Lxd, Some("near")).unwrap();
    assert_eq!(named.uri, "lxd+unix:///near/unix.socket");
    let variable = infer(&home.environment(&[("LXC_REMOTE", "near")]), Product::Lxd, None).unwrap();
    assert_eq!((variable.remote.as_str(), variable.origin.as_str()), ("near", "LXC_REMOTE"));
    let incus = infer(&home.environment(&[("INCUS_PROJECT", "default")]), Product::Incus, None).unwrap();
    assert!(!incus.uri.contains("project"), "{}", incus.uri);
}

#[test]
fn variables_name_the_directory_and_the_socket() {
    let home = Home::new(&[("conf/config.yml", FILE)]);
    let conf = home.path("conf");
    let environment = home.environment(&[("LXD_CONF", &conf), ("INCUS_CONF", &conf), ("INCUS_DIR", "/i")]);
    assert!(infer(&environment, Product::Lxd, None).unwrap().uri.starts_with("lxd+https://far"));
    // Whatever the file says of its address.
    let local = infer(&environment, Product::Incus, Some("local")).unwrap();
    assert_eq!(local.uri, "incus+unix:///i/unix.socket");
    let socket = home.environment(&[("INCUS_SOCKET", "/s/x.socket"), ("INCUS_DIR", "/i")]);
    assert_eq!(infer(&socket, Product::Incus, None).unwrap().uri, "incus+unix:///s/x.socket");
}

#[test]
fn a_remote_that_is_missing_is_an_error_that_says_who_named_it() {
    let home = Home::new(&[(".config/incus/config.yml", "default-remote: gone\n")]);
    let error = infer(&home.environment(&[]), Product::Incus, None).unwrap_err();
    assert_eq!((error.kind(), error.resource()), (ErrorKind::NotFound, Some("gone")));
    assert!(error.message().contains("config.yml"), "{error}");
    let error = infer(&home.environment(&[("INCUS_REMOTE", "lost")]), Product::Incus, None).unwrap_err();
    assert!(error.message().contains("lost") && error.message().contains("INCUS_REMOTE"), "{error}");
    assert_eq!(infer(&home.environment(&[]), Product::Lxd, Some("x")).unwrap_err().kind(), ErrorKind::NotFound);
    let broken = discover(&home.environment(&[]));
    assert!(broken.iter().any(|engine| engine.problem.as_ref().is_some_and(|why| why.contains("gone"))));
}

#[test]
fn the_machines_remotes_come_after_the_users() {
    let home = Home::new(&[
        (".config/lxc/config.yml", "remotes:\n  both:\n    addr: https://mine:8443\n"),
        (
            "etc/lxd/config.yml",
            "remotes:\n  both:\n    addr: https://theirs:8443\n  more:\n    addr: https://more:8443\n",
        ),
        ("etc/lxd/servercerts/more.crt", "s"),
        (".config/lxc/client.ca", "a"),
        (".config/lxc/clientcerts/more.crt", "c"),
        (".config/lxc/clientcerts/more.key", "k"),
    ]);
    let environment = home.environment(&[]);
    let both = remote(&environment, Product::Lxd, "both").unwrap();
    assert_eq!(both.address, Address::Https("https://mine:8443".to_owned()));
    assert!(both.server_certificate.is_none() && both.authority.is_some());
    let more = remote(&environment, Product::Lxd, "more").unwrap();
    assert_eq!(more.server_certificate, Some(home.path("etc/lxd/servercerts/more.crt").into()));
    assert_eq!(more.certificate, Some(home.path(".config/lxc/clientcerts/more.crt").into()));
}

#[test]
fn what_is_no_node_and_what_makes_no_sense_is_refused() {
    let home = Home::new(&[(".config/lxc/config.yml", FILE), (".config/incus/config.yml", "remotes: [")]);
    let environment = home.environment(&[]);
    let kind = |name| infer(&environment, Product::Lxd, Some(name)).unwrap_err().kind();
    assert_eq!(kind("images"), ErrorKind::InvalidInput);
    assert_eq!(kind("login"), ErrorKind::Unsupported);
    assert_eq!(kind("odd"), ErrorKind::InvalidInput);
    assert_eq!(kind("empty"), ErrorKind::NotFound);
    let images = remote(&environment, Product::Lxd, "images").unwrap();
    assert!(images.public && images.certificate.is_none() && images.protocol == "simplestreams");
    let error = infer(&environment, Product::Incus, None).unwrap_err();
    assert_eq!(error.field(), Some("config.yml"));
    assert!(!error.message().contains('\n'), "{error}");
}

#[test]
fn sockets_are_found_where_they_are() {
    let home = Home::new(&[]);
    let directory = home.path("d");
    std::fs::create_dir(&directory).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(home.path("d/unix.socket")).unwrap();
    let found = discover(&home.environment(&[("LXD_DIR", &directory), ("INCUS_DIR", &directory)]));
    let uris: Vec<_> = found.iter().map(|engine| engine.uri.as_str()).collect();
    // One server, though two names lead to it.
    assert_eq!(uris, [format!("lxd+unix://{directory}/unix.socket")]);
}
