# The agent: runs tasks on this host.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkIf
    mkOption
    types
    ;

  cfg = config.services.tepui.agent;
  path = "services.tepui.agent";
  program = "tepui-agentd";
  daemon = import ./daemon.nix { inherit lib pkgs; };
  controlPlane = config.services.tepui.control-plane or { enable = false; };
  plugins = daemon.pluginFolder cfg "agent-plugins";
  pluginDir = "/etc/tepui/plugins/agent";
  file = daemon.configFile {
    inherit
      cfg
      program
      plugins
      pluginDir
      ;
    inherit (cfg) settings;
    name = "agentd.toml";
  };

  # What the host boots; a container has its kernel from elsewhere.
  kernel = config.boot.kernelPackages.kernel.version or null;
  oldestKernel = "5.15";
  ownKernel = kernel != null && !(config.boot.isContainer or false);
  # Until 24.05 an option, since then (and before systemd 258) a parameter of the kernel.
  unified = options.systemd.enableUnifiedCgroupHierarchy or { isDefined = false; };
  withoutUnified =
    (unified.isDefined && !config.systemd.enableUnifiedCgroupHierarchy)
    || lib.any (
      parameter: builtins.match "systemd\\.unified_cgroup_hierarchy=(0|no|off|false)" parameter != null
    ) (config.boot.kernelParams or [ ]);

  range = types.submodule {
    options = {
      from = mkOption {
        type = types.port;
        description = "The first port.";
      };
      to = mkOption {
        type = types.port;
        description = "The last port.";
      };
    };
  };

  # Capabilities that neither the daemon nor any task has a use for.
  never = [
    "CAP_AUDIT_CONTROL"
    "CAP_AUDIT_READ"
    "CAP_BLOCK_SUSPEND"
    "CAP_MAC_ADMIN"
    "CAP_MAC_OVERRIDE"
    "CAP_SYSLOG"
    "CAP_SYS_BOOT"
    "CAP_SYS_MODULE"
    "CAP_SYS_PACCT"
    "CAP_SYS_RAWIO"
    "CAP_SYS_TIME"
    "CAP_SYS_TTY_CONFIG"
    "CAP_WAKE_ALARM"
    "CAP_LEASE"
    "CAP_LINUX_IMMUTABLE"
  ];
in
{
  imports = [ ./common.nix ];

  options.services.tepui.agent = {
    enable = lib.mkEnableOption "an agent of a Tepui cluster, which runs tasks on this host";

    settings = daemon.settingsOption {
      inherit program;
      name = config.networking.fqdnOrHostName;
      typed = {
        listen = daemon.addressOption "127.0.0.1:5051" "of the agent's own endpoints";
        control_plane = mkOption {
          type = types.listOf types.str;
          default = lib.optional controlPlane.enable "http://${daemon.reached controlPlane.settings.agent_listen}";
          defaultText = lib.literalMD "the one on this host, at its `agent_listen`";
          example = [ "http://node1:5052" ];
          description = "Where control planes take agents.";
        };
      };
    };

    taskPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.python3 ]";
      description = ''
        Packages in the `PATH` of tasks that bring none of their own, besides those of the system.
      '';
    };

    taskPorts = mkOption {
      type = types.nullOr range;
      default = null;
      example = {
        from = 31000;
        to = 32000;
      };
      description = ''
        Ports to open in the firewall for tasks: those that the agent offers.
      '';
    };
  }
  // daemon.options {
    inherit program;
    unit = program;
    inherit (config.services.tepui) package;
  };

  config = mkIf cfg.enable {
    assertions =
      daemon.assertions {
        inherit cfg path;
        addresses = [ "listen" ];
      }
      ++ [
        {
          assertion = cfg.settings.control_plane != [ ] || !controlPlane.enable;
          message = "${path}.settings.control_plane is empty. Leave it out: it is the control plane of this host then.";
        }
        {
          assertion = cfg.settings.control_plane != [ ] || controlPlane.enable;
          message = "${path}: no control plane runs on this host, and ${path}.settings.control_plane names none. List where agents register: control_plane = [ \"http://HOST:5052\" ].";
        }
        {
          assertion = lib.unique cfg.settings.control_plane == cfg.settings.control_plane;
          message = "${path}.settings.control_plane names a control plane twice: ${lib.concatStringsSep ", " cfg.settings.control_plane}. Name each once.";
        }
        {
          assertion = ownKernel -> lib.versionAtLeast kernel oldestKernel;
          message = "${path}: this host boots Linux ${toString kernel}, and tasks are counted and held to their limits by Linux ${oldestKernel} or newer. Set boot.kernelPackages to a newer one.";
        }
        {
          assertion = !withoutUnified;
          message = "${path}: this host is without the unified hierarchy of control groups (cgroup v2), in which tasks have their limits. Remove systemd.unified_cgroup_hierarchy from boot.kernelParams, or systemd.enableUnifiedCgroupHierarchy = false.";
        }
        {
          assertion = cfg.taskPorts != null -> cfg.taskPorts.from <= cfg.taskPorts.to;
          message = "${path}.taskPorts begins after its end; give it as { from = 31000; to = 32000; }.";
        }
        {
          assertion =
            controlPlane.enable
            -> !lib.any (daemon.clash cfg.settings.listen) [
              controlPlane.settings.listen
              controlPlane.settings.marathon_listen
              controlPlane.settings.agent_listen
            ];
          message = "${path}.settings.listen has a port at which the control plane of this host listens: ${cfg.settings.listen}. Give one of them another.";
        }
      ];

    services.tepui.agent.settings.plugin_dir = mkIf (cfg.plugins != [ ]) (mkDefault pluginDir);

    environment.systemPackages = [ cfg.package ];
    environment.etc."tepui/agentd.toml".source = file;
    environment.etc."tepui/plugins/agent" = mkIf (cfg.plugins != [ ]) {
      source = plugins;
    };

    networking.firewall = {
      allowedTCPPorts = mkIf cfg.openFirewall (daemon.portsOf [ cfg.settings.listen ]);
      allowedTCPPortRanges = mkIf (cfg.taskPorts != null) [ cfg.taskPorts ];
      allowedUDPPortRanges = mkIf (cfg.taskPorts != null) [ cfg.taskPorts ];
    };

    systemd.slices.system = daemon.systemSlice;
    # All tasks that are units: among themselves as each was given, and together no more than all
    # services of the host, whose forks they never use up. Further bounds are the operator's.
    systemd.slices.tepui = {
      description = "Tasks of Tepui";
      sliceConfig = {
        CPUWeight = mkDefault 100;
        IOWeight = mkDefault 100;
        TasksMax = mkDefault "80%";
      };
    };

    systemd.services.tepui-agentd = {
      description = "Tepui agent";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network.target" ];
      after = [ "network.target" ];
      restartTriggers = [ file ] ++ cfg.plugins;
      # A new configuration is a restart in one go, not an absence for as long as the switch takes.
      stopIfChanged = false;
      # Its own tool for networks, and what tasks find: the host's programs.
      path = [ pkgs.nftables ] ++ cfg.taskPackages ++ [ "/run/current-system/sw" ];
      unitConfig.StartLimitIntervalSec = 0;

      # What it starts as units of systemd inherits nothing of this; processes that it starts itself
      # do, and so do COMMAND checks: only what no task may miss is taken away here. Nothing that
      # gives the daemon mounts of its own: what it mounts and pins must outlive it.
      serviceConfig = daemon.serviceConfig // {
        ExecStart = "${lib.getExe' cfg.package program} --config /etc/tepui/agentd.toml";
        StateDirectory = "tepui/agent";
        LoadCredential = mkIf (cfg.credentials != { }) (daemon.loadCredentials cfg);
        # Tasks live on in the unit's control group when the daemon ends, and it makes groups for
        # them there.
        KillMode = "process";
        Delegate = true;
        TasksMax = "infinity";

        KeyringMode = "private";
        LockPersonality = true;
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
        CapabilityBoundingSet = "~${lib.concatStringsSep " " never}";
      };
    };
  };
}
