# Configurations that are right; what becomes of them stands in golden/.
let
  plugin = name: {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
  };
in
{
  # Ten lines, as in README.md.
  alone = {
    services.tepui.control-plane.enable = true;
    services.tepui.agent.enable = true;
    services.tepui.apps."/web" = {
      cmd = "exec python3 -m http.server $PORT0";
      cpus = 0.1;
      mem = 64;
      instances = 2;
    };
  };

  # A control plane that other hosts reach.
  plane = {
    services.tepui.control-plane = {
      enable = true;
      openFirewall = true;
      settings = {
        listen = "0.0.0.0:5050";
        marathon_listen = "[::]:8080";
        agent_listen = "0.0.0.0:5052";
        cluster = "north";
        allow_unauthenticated = true;
      };
    };
  };

  # What is beside a control plane on its host follows the addresses at which that listens.
  together = {
    services.tepui.control-plane = {
      enable = true;
      settings = {
        listen = "10.0.0.1:6050";
        marathon_listen = "[::]:9080";
        agent_listen = "0.0.0.0:6052";
        allow_unauthenticated = true;
      };
    };
    services.tepui.agent = {
      enable = true;
      settings = {
        listen = "0.0.0.0:6051";
        allow_unauthenticated = true;
      };
    };
    services.tepui.apps."/web".cmd = "exec web";
    services.prometheus.enable = true;
    services.tepui.monitoring = {
      enable = true;
      rules = [ "/etc/rules/tepui.yml" ];
      dashboards = "/etc/dashboards";
    };
  };

  # One of several control planes, whose store wants TLS and a login.
  shared = {
    services.tepui.control-plane = {
      enable = true;
      settings = {
        listen = "10.0.0.1:5050";
        store = "file:///run/credentials/tepui-control-plane.service/store";
        store_ca_file = "/etc/ssl/etcd-ca.pem";
        store_cert_file = "/run/credentials/tepui-control-plane.service/store-cert";
        store_key_file = "/run/credentials/tepui-control-plane.service/store-key";
        allow_unauthenticated = true;
      };
      credentials = {
        store = "/run/keys/store";
        store-cert = "/run/keys/store.pem";
        store-key = "/run/keys/store.key";
      };
    };
    services.tepui.agent = {
      enable = true;
      settings = {
        control_plane = [ "file:///run/credentials/tepui-agentd.service/store" ];
        store_ca_file = "/etc/ssl/etcd-ca.pem";
      };
      credentials.store = "/run/keys/store-to-read";
    };
  };

  # Names that only sound like secrets, and files outside the store; what is public may be in it.
  discreet = {
    services.tepui.control-plane = {
      enable = true;
      checkConfig = false;
      settings = {
        store_ca_file = "/nix/store/00000000000000000000000000000000-ca.pem";
        plugins.quota.settings = {
          token_file = "/run/credentials/tepui-control-plane.service/token";
          private_key_path = "/run/keys/quota";
          password = "";
          secret = "file:///run/credentials/tepui-control-plane.service/quota";
          tokens_per_second = 3;
          key_prefix = "quota/";
          monkey = "ape";
        };
      };
    };
  };

  # An agent with everything.
  worker =
    { lib, pkgs, ... }:
    {
      services.tepui.agent = {
        enable = true;
        openFirewall = true;
        settings = {
          control_plane = [
            "http://plane:5052"
            "http://other:5052"
          ];
          listen = "10.0.0.7:5051";
          hostname = lib.mkForce "worker.example.org";
          resources = "cpus:8;mem:16384;ports:[31000-31999]";
          attributes = "rack:a;zone:north";
          docker_config = "/run/credentials/tepui-agentd.service/docker-config";
          isolation = "cgroups/cpu,cgroups/mem";
          allow_unauthenticated = true;
        };
        credentials.docker-config = "/run/keys/docker.json";
        taskPackages = [ pkgs.python3 ];
        taskPorts = {
          from = 31000;
          to = 31999;
        };
      };
      # Settings of units stay open to whoever knows better.
      systemd.services.tepui-agentd.serviceConfig.LimitNOFILE = lib.mkForce 4096;
    };

  # A container has another's kernel; where NixOS has removed the option for cgroup v2 nothing reads it.
  inside =
    { lib, ... }:
    {
      options.systemd.enableUnifiedCgroupHierarchy = lib.mkOption {
        apply = _: throw "this option was removed";
      };
      config = {
        boot.isContainer = true;
        boot.kernelPackages.kernel.version = "5.10.239";
        services.tepui.agent = {
          enable = true;
          settings.control_plane = [ "http://plane:5052" ];
        };
      };
    };

  # Plugins are joined; the daemon that loads them is another matter.
  plugged = {
    services.tepui.control-plane = {
      enable = true;
      checkConfig = false;
      plugins = [
        (plugin "binpack")
        (plugin "priority")
      ];
    };
  };

  # A plugin of the package, with settings: it is loaded when the system is built.
  ranked =
    { config, ... }:
    {
      services.tepui.control-plane = {
        enable = true;
        plugins = [ config.services.tepui.package ];
        settings = {
          allocator = "priority";
          plugins.priority.settings.priorities.prod = 10;
        };
      };
    };

  # A host that only declares apps, to a cluster elsewhere.
  deployer = {
    services.tepui.apply = {
      marathon = "http://plane:8080";
      owner = "shop";
      adopt = true;
      pruneLimit = 20;
    };
    services.tepui.apps = {
      "/shop/cart" = {
        cmd = "exec cart --port $PORT0";
        instances = 3;
        constraints = [
          [
            "hostname"
            "UNIQUE"
          ]
        ];
        healthChecks = [
          {
            protocol = "HTTP";
            path = "/health";
            portIndex = 0;
          }
        ];
        dependencies = [ "/shop/db" ];
      };
      "/shop/db".cmd = "exec db";
    };
  };

  watcher = {
    services.prometheus.enable = true;
    services.grafana.enable = true;
    services.tepui.monitoring = {
      enable = true;
      controlPlanes = [ "plane:5050" ];
      agents = [
        "worker:5051"
        "alone:5051"
      ];
      apps.servers = [ "http://plane:8080" ];
      rules = [ "/etc/rules/tepui.yml" ];
      dashboards = "/etc/dashboards";
    };
  };
}
