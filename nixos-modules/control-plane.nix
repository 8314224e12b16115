# The control plane: who is offered what, and Marathon's apps.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkIf;

  cfg = config.services.tepui.control-plane;
  path = "services.tepui.control-plane";
  program = "tepui-control-plane";
  daemon = import ./daemon.nix { inherit lib pkgs; };
  hardening = import ./hardening.nix;
  addresses = [
    "listen"
    "marathon_listen"
    "agent_listen"
  ];
  plugins = daemon.pluginFolder cfg "control-plane-plugins";
  pluginDir = "/etc/tepui/plugins/control-plane";
  file = daemon.configFile {
    inherit
      cfg
      program
      plugins
      pluginDir
      ;
    inherit (cfg) settings;
    name = "control-plane.toml";
  };
in
{
  imports = [ ./common.nix ];

  options.services.tepui.control-plane = {
    enable = lib.mkEnableOption "a control plane of a Tepui cluster";

    settings = daemon.settingsOption {
      inherit program;
      name = config.networking.fqdnOrHostName;
      typed = {
        listen = daemon.addressOption "127.0.0.1:5050" "at which frameworks and operators speak the Mesos APIs";
        marathon_listen = daemon.addressOption "127.0.0.1:8080" "at which clients speak Marathon's REST API";
        agent_listen = daemon.addressOption "127.0.0.1:5052" "at which agents register";
      };
    };
  }
  // daemon.options {
    inherit program;
    unit = program;
    inherit (config.services.tepui) package;
  };

  config = mkIf cfg.enable {
    assertions =
      daemon.assertions { inherit cfg path addresses; }
      ++
        map
          (
            pair:
            let
              one = cfg.settings.${builtins.head pair};
              other = cfg.settings.${lib.last pair};
            in
            {
              assertion = !daemon.clash one other;
              message = "${path}.settings.${lib.concatStringsSep " and " pair} cannot both be listened at: ${one} and ${other} have the same port. Give one of them another.";
            }
          )
          [
            [
              "listen"
              "marathon_listen"
            ]
            [
              "listen"
              "agent_listen"
            ]
            [
              "marathon_listen"
              "agent_listen"
            ]
          ];

    services.tepui.control-plane.settings.plugin_dir = mkIf (cfg.plugins != [ ]) (mkDefault pluginDir);

    environment.systemPackages = [ cfg.package ];
    environment.etc."tepui/control-plane.toml".source = file;
    environment.etc."tepui/plugins/control-plane" = mkIf (cfg.plugins != [ ]) {
      source = plugins;
    };

    networking.firewall.allowedTCPPorts = mkIf cfg.openFirewall (
      daemon.portsOf (
        lib.filter (address: !daemon.isLoopback address) (map (key: cfg.settings.${key}) addresses)
      )
    );

    systemd.slices.system = daemon.systemSlice;
    systemd.services.tepui-control-plane = {
      description = "Tepui control plane";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network.target" ];
      after = [ "network.target" ];
      restartTriggers = [ file ] ++ cfg.plugins;
      # A new configuration is a restart in one go, not an absence for as long as the switch takes.
      stopIfChanged = false;
      # It comes back however often it falls: tasks go on meanwhile, and agents wait for it.
      unitConfig.StartLimitIntervalSec = 0;

      # It needs a folder for its records and its sockets, and has nothing else.
      serviceConfig =
        hardening
        // daemon.serviceConfig
        // {
          ExecStart = "${lib.getExe' cfg.package program} --config /etc/tepui/control-plane.toml";
          DynamicUser = true;
          User = "tepui-control-plane";
          StateDirectory = "tepui/control-plane";
          StateDirectoryMode = "0700";
          LoadCredential = mkIf (cfg.credentials != { }) (daemon.loadCredentials cfg);
        };
    };
  };
}
