# Configurations that are refused, each with words that must be in what is said: of evaluation
# (`says`), or of the daemon that reads its settings at build (`buildSays`).
let
  agent = settings: {
    services.tepui.agent = {
      enable = true;
      inherit settings;
    };
  };
  plane = settings: {
    services.tepui.control-plane = {
      enable = true;
      inherit settings;
    };
  };
in
{
  "an agent without a control plane" = {
    config = agent { };
    says = [ ''control_plane = [ "http://HOST:5052" ]'' ];
  };

  "an agent that is told of no control plane beside one" = {
    config = {
      imports = [
        (plane { })
        (agent { control_plane = [ ]; })
      ];
    };
    says = [ "services.tepui.agent.settings.control_plane is empty. Leave it out" ];
  };

  "a login at which apps are applied" = {
    config.services.tepui = {
      apps."/web".cmd = "exec x";
      apply.marathon = "zk://reader:hunter2@one:2181/tepui";
    };
    says = [
      "services.tepui.apply.marathon has a password"
      "file:///run/credentials/tepui-apply.service/marathon"
    ];
  };

  "a control plane that is named twice" = {
    config = agent {
      control_plane = [
        "http://one:5052"
        "http://two:5052"
        "http://one:5052"
      ];
    };
    says = [ "names a control plane twice: http://one:5052, http://two:5052, http://one:5052" ];
  };

  "an agent on a kernel that is too old" = {
    config = {
      imports = [ (agent { control_plane = [ "http://one:5052" ]; }) ];
      boot.kernelPackages.kernel.version = "5.10.239";
    };
    says = [
      "this host boots Linux 5.10.239"
      "Linux 5.15 or newer. Set boot.kernelPackages"
    ];
  };

  "an agent without cgroup v2 by a parameter of the kernel" = {
    config = {
      imports = [ (agent { control_plane = [ "http://one:5052" ]; }) ];
      boot.kernelParams = [ "systemd.unified_cgroup_hierarchy=0" ];
    };
    says = [ "without the unified hierarchy of control groups (cgroup v2)" ];
  };

  "an agent without cgroup v2 by the option of former releases" = {
    config =
      { lib, ... }:
      {
        imports = [ (agent { control_plane = [ "http://one:5052" ]; }) ];
        options.systemd.enableUnifiedCgroupHierarchy = lib.mkOption { type = lib.types.bool; };
        config.systemd.enableUnifiedCgroupHierarchy = false;
      };
    says = [ "or systemd.enableUnifiedCgroupHierarchy = false" ];
  };

  "a firewall opened for loopback addresses" = {
    config.services.tepui.control-plane = {
      enable = true;
      openFirewall = true;
    };
    says = [
      "services.tepui.control-plane.openFirewall is set, but everything listens on loopback"
      "or leave the firewall closed"
    ];
  };

  "a secret among the settings" = {
    config = plane { admin_password = "hunter2"; };
    says = [
      "services.tepui.control-plane.settings.admin_password would put a secret into the Nix store"
      "services.tepui.control-plane.credentials"
    ];
  };

  "a secret among the settings of a plugin" = {
    config = plane { plugins.quota.settings.api_token = "hunter2"; };
    says = [
      "services.tepui.control-plane.settings.plugins.quota.settings.api_token would put a secret"
    ];
  };

  "secrets however their names are written" = {
    config = plane {
      adminPassword = "hunter2";
      SIGNING_KEY = "hunter2";
      "auth-token" = "hunter2";
      plugins.quota.settings = {
        api_key = "hunter2";
        apiKey = "hunter2";
        privateKey = "hunter2";
        secrets.db = "hunter2";
        pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----\n";
      };
    };
    says = [
      "settings.SIGNING_KEY, adminPassword, auth-token, plugins.quota.settings.apiKey, plugins.quota.settings.api_key, plugins.quota.settings.pem, plugins.quota.settings.privateKey, plugins.quota.settings.secrets.db would put a secret into the Nix store"
      "services.tepui.control-plane.credentials"
    ];
  };

  "a private key that is copied to the store" = {
    config = plane { store_key_file = ./wrong.nix; };
    says = [ "services.tepui.control-plane.settings.store_key_file names a file in the Nix store" ];
  };

  "a private key in the store, as a string" = {
    config = plane { store_key_file = "${./wrong.nix}"; };
    says = [
      "services.tepui.control-plane.settings.store_key_file names a file in the Nix store"
      "services.tepui.control-plane.credentials"
    ];
  };

  "a store's address in a file that is copied to the store" = {
    config = plane { store = "file://${./wrong.nix}"; };
    says = [ "services.tepui.control-plane.settings.store names a file in the Nix store" ];
  };

  "the same for an agent, and a token's file for a plugin" = {
    config = agent {
      control_plane = [ "file://${./wrong.nix}" ];
      plugins.numa.settings.tokenFile = ./wrong.nix;
    };
    says = [
      "services.tepui.agent.settings.control_plane, plugins.numa.settings.tokenFile names a file in the Nix store"
    ];
  };

  "a credential out of the store" = {
    config.services.tepui.control-plane = {
      enable = true;
      credentials.key = "${./wrong.nix}";
    };
    says = [ "services.tepui.control-plane.credentials.key must be the absolute path" ];
  };

  "a secret file that a package makes" = {
    config = agent {
      control_plane = [ "http://plane:5052" ];
      docker_config = {
        type = "derivation";
        name = "docker.json";
        outPath = "/nix/store/00000000000000000000000000000000-docker.json";
      };
    };
    says = [ "services.tepui.agent.settings.docker_config names a file in the Nix store" ];
  };

  "a credential with a name that is none" = {
    config.services.tepui.control-plane = {
      enable = true;
      credentials."store:key" = "/run/keys/key";
    };
    says = [ ''credentials: ["store:key"] cannot be files below /run/credentials'' ];
  };

  "a secret file that is copied to the store" = {
    config = agent {
      control_plane = [ "http://plane:5052" ];
      docker_config = ./wrong.nix;
    };
    says = [ "services.tepui.agent.settings.docker_config names a file in the Nix store" ];
  };

  "a credential without an absolute path" = {
    config.services.tepui.control-plane = {
      enable = true;
      credentials.key = "keys/key";
    };
    says = [ "services.tepui.control-plane.credentials.key must be the absolute path" ];
  };

  "an address without a port" = {
    config = plane { listen = "0.0.0.0"; };
    says = [
      ''services.tepui.control-plane.settings.listen = "0.0.0.0" is not an address with a port''
    ];
  };

  "an address without a port beside an agent, and a firewall that is opened for it" = {
    config = {
      services.tepui.agent.enable = true;
      services.tepui.control-plane = {
        enable = true;
        openFirewall = true;
        settings.listen = "0.0.0.0";
      };
    };
    says = [
      ''services.tepui.control-plane.settings.listen = "0.0.0.0" is not an address with a port''
    ];
  };

  "two APIs at one port" = {
    config = plane {
      listen = "0.0.0.0:8080";
      allow_unauthenticated = true;
    };
    says = [
      "services.tepui.control-plane.settings.listen and marathon_listen cannot both be listened at"
      "0.0.0.0:8080 and 127.0.0.1:8080 have the same port"
    ];
  };

  "an agent at a port of the control plane" = {
    config = {
      services.tepui.control-plane.enable = true;
      services.tepui.agent = {
        enable = true;
        settings.listen = "127.0.0.1:8080";
      };
    };
    says = [ "has a port at which the control plane of this host listens: 127.0.0.1:8080" ];
  };

  "task ports that end before they begin" = {
    config = {
      services.tepui.control-plane.enable = true;
      services.tepui.agent = {
        enable = true;
        taskPorts = {
          from = 32000;
          to = 31000;
        };
      };
    };
    says = [ "services.tepui.agent.taskPorts begins after its end" ];
  };

  "an app without its slash" = {
    config.services.tepui.apps.web.cmd = "exec x";
    says = [ ''services.tepui.apps."web" is not an app's id'' ];
  };

  "an app with two ids" = {
    config.services.tepui.apps."/web" = {
      id = "/shop";
      cmd = "exec x";
    };
    says = [ "has another id inside. The name is the id" ];
  };

  "monitoring without anything that monitors" = {
    config.services.tepui.monitoring.enable = true;
    says = [ "this host has neither Prometheus nor Grafana" ];
  };

  "a Marathon endpoint without its scheme" = {
    config = {
      services.prometheus.enable = true;
      services.tepui.monitoring = {
        enable = true;
        apps.servers = [ "plane:8080" ];
        agents = [ "http://worker:5051" ];
      };
    };
    says = [
      ''such as "http://node1:8080"''
      "take HOST:PORT, without http://"
    ];
  };

  "an agent to scrape without its port" = {
    config = {
      services.prometheus.enable = true;
      services.tepui.monitoring = {
        enable = true;
        agents = [ "worker" ];
      };
    };
    says = [ ''take HOST:PORT, without http://, such as "node1:5051"'' ];
  };

  "an option with a typing error" = {
    config.services.tepui.agent.enabled = true;
    says = [ "The option `services.tepui.agent.enabled' does not exist" ];
  };

  "an option of another type" = {
    config.services.tepui.agent = {
      enable = true;
      openFirewall = "yes";
    };
    says = [ "A definition for option `services.tepui.agent.openFirewall' is not of type `boolean'" ];
  };

  "the former options for Mesos" = {
    config.services.mesos = {
      master = {
        enable = true;
        ip = "10.0.0.1";
        zk = "zk://a:2181,b:2181/mesos";
        quorum = 2;
        extraCmdLineOptions = [ "--credentials=/x" ];
      };
      slave = {
        enable = true;
        port = 5055;
        master = "zk://a:2181,b:2181/mesos";
        workDir = "/var/lib/mesos/slave";
        attributes = {
          os = "nixos";
          rack = "aa";
        };
        isolation = [
          "cgroups/cpu"
          "cgroups/mem"
        ];
        dockerRegistry = "https://registry.example.org";
        withDocker = true;
      };
    };
    says = [
      "services.mesos was for a package that nixpkgs no longer has"
      "services.tepui.control-plane.enable = true;"
      "services.tepui.control-plane.settings.listen = \"10.0.0.1:5050\";"
      "services.tepui.control-plane.settings.store = \"zk://a:2181,b:2181/mesos\"; # records of Mesos"
      "# quorum: the servers of the store count themselves"
      "# --credentials=/x: see `tepui-control-plane --help`"
      "services.tepui.agent.enable = true;"
      "services.tepui.agent.settings.control_plane = [ \"zk://a:2181,b:2181/mesos\" ];"
      "services.tepui.agent.settings.listen = \"0.0.0.0:5055\";"
      "services.tepui.agent.settings.attributes = \"os:nixos;rack:aa\";"
      "services.tepui.agent.settings.isolation = \"cgroups/cpu,cgroups/mem\";"
      "services.tepui.agent.settings.docker_registry = \"https://registry.example.org\";"
      "# withDocker: images run without Docker"
      "# workDir: Tepui keeps its state in /var/lib/tepui and takes none over"
    ];
  };

  "the former options for Marathon" = {
    config.services.marathon = {
      enable = true;
      httpPort = 9090;
      zookeeperHosts = [ "a:2181" ];
      user = "root";
      environment.JAVA_OPTS = "-Xmx512m";
    };
    says = [
      "services.tepui.control-plane.enable = true;"
      "services.tepui.control-plane.settings.marathon_listen = \"0.0.0.0:9090\";"
      "services.tepui.control-plane.settings.store = \"zk://a:2181/tepui\"; # apps of Marathon"
      "# environment: there is no Java, and nothing to tell it"
      "services.tepui.control-plane.settings.marathon_user = \"root\"; # of apps that name none"
    ];
  };

  "the former options with a master that a file names" = {
    config.services.mesos.slave.master = "file:///etc/mesos/zk";
    says = [ "# master: file:///etc/mesos/zk holds the address of a master" ];
  };

  "the former options with a password" = {
    config.services.mesos = {
      master.zk = "zk://ada:secret@a:2181/mesos";
      slave.master = "zk://ada:secret@a:2181/mesos";
    };
    says = [
      "services.tepui.control-plane.settings.store = \"file:///run/credentials/tepui-control-plane.service/store\";"
      "services.tepui.control-plane.credentials.store = \"/run/keys/store\";"
      "services.tepui.agent.settings.control_plane = [ \"file:///run/credentials/tepui-agentd.service/store\" ];"
    ];
  };

  "a store whose address has a password" = {
    config = plane { store = "zk://ada:secret@a:2181/mesos"; };
    says = [
      "services.tepui.control-plane.settings.store has a password"
      "file:///run/credentials/"
    ];
  };

  "a store under the name that Mesos has for it whose address has a password" = {
    config = plane { zk = "zk://ada:secret@a:2181/mesos"; };
    says = [
      "services.tepui.control-plane.settings.zk has a password"
      "file:///run/credentials/"
    ];
  };

  "a store among those of an agent whose address has a password" = {
    config.services.tepui.agent = {
      enable = true;
      settings.control_plane = [ "etcd://ada:secret@a:2379/tepui" ];
    };
    says = [ "services.tepui.agent.settings.control_plane has a password" ];
  };

  "certificates for a store that does not speak TLS" = {
    config = plane {
      store = "etcd://a:2379";
      store_ca_file = "/etc/ssl/etcd-ca.pem";
    };
    buildSays = [ "store_ca_file and store_cert_file are for etcds://" ];
  };

  "a store that is shared with hosts that do not reach this one" = {
    config = plane { store = "etcd://a:2379"; };
    buildSays = [ "is told to others as 127.0.0.1" ];
  };

  "a key that the daemon does not know" = {
    config = plane { lisen = "127.0.0.1:1"; };
    buildSays = [
      "the settings of tepui-control-plane are refused"
      "unknown field `lisen`"
    ];
  };

  "an open address where nobody has to log in" = {
    config = plane { listen = "0.0.0.0:5050"; };
    buildSays = [ "allow_unauthenticated" ];
  };

  "resources that make no sense" = {
    config = agent {
      control_plane = [ "http://plane:5052" ];
      resources = "cpus:-1";
    };
    buildSays = [
      "the settings of tepui-agentd are refused"
      "cpus"
    ];
  };

  "an isolator that nobody has" = {
    config = agent {
      control_plane = [ "http://plane:5052" ];
      isolation = "auto,numma";
    };
    buildSays = [
      "isolation names 'numma', and this agent has "
      "plugin_dir says in which folder plugins are"
    ];
  };

  "a word on a plugin whose name is misspelt" = {
    config = plane {
      allocator = "priority";
      plugin_dir = "/plugins";
      plugins.prioritty.budget_ms = 200;
    };
    buildSays = [
      "[plugins.prioritty] is of no plugin"
      "right would be priority"
    ];
  };

  "a plugin that was built for another daemon" = {
    config =
      { config, ... }:
      {
        services.tepui.control-plane = {
          enable = true;
          plugins = [ config.services.tepui.package ];
          settings.allocator = "wrong-abi";
        };
      };
    buildSays = [
      "the settings of tepui-control-plane are refused: plugin wrong-abi: it was built for version 9"
    ];
  };

  "settings that an isolator does not know" = {
    config =
      { config, ... }:
      {
        services.tepui.agent = {
          enable = true;
          plugins = [ config.services.tepui.package ];
          settings = {
            control_plane = [ "http://plane:5052" ];
            isolation = "auto,numa";
            plugins.numa.settings.strickt = true;
          };
        };
      };
    buildSays = [
      "the settings of tepui-agentd are refused: plugin numa: open was refused"
      "unknown field `strickt`"
    ];
  };

  "a word on an isolator whose name is misspelt" = {
    config = agent {
      control_plane = [ "http://plane:5052" ];
      isolation = "auto,numa";
      plugin_dir = "/plugins";
      plugins.numma.settings.strict = true;
    };
    buildSays = [ "right would be numa" ];
  };

  "an app that the cluster would refuse" = {
    config.services.tepui.apps."/web".cpus = -1;
    buildSays = [
      "(/web) is refused"
      "/cpus"
    ];
  };
}
