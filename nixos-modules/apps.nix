# Apps that should run, as part of a host's configuration.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    concatStringsSep
    filterAttrs
    mkIf
    mkOption
    types
    ;

  cfg = config.services.tepui.apply;
  apps = config.services.tepui.apps;
  json = pkgs.formats.json { };
  daemon = import ./daemon.nix { inherit lib pkgs; };
  controlPlane = config.services.tepui.control-plane or { };
  hardening = import ./hardening.nix;
  tepui = lib.getExe' cfg.package "tepui";

  isId = name: builtins.match "(/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)+" name != null;
  badIds = builtins.attrNames (filterAttrs (name: _: !isId name) apps);
  otherIds = builtins.attrNames (
    filterAttrs (name: app: (app.id or name) != name && "/${app.id or name}" != name) apps
  );

  plain = json.generate "apps.json" (lib.mapAttrsToList (id: app: app // { inherit id; }) apps);
  file =
    if cfg.checkApps then
      pkgs.runCommand "apps.json" { inherit plain; } ''
        ${tepui} apply --check "$plain" >/dev/null
        cp "$plain" "$out"
      ''
    else
      plain;
in
{
  imports = [ ./common.nix ];

  options.services.tepui = {
    apps = mkOption {
      type = types.attrsOf (types.attrsOf json.type);
      default = { };
      example = {
        "/shop/cart" = {
          cmd = "exec cart --port $PORT0";
          cpus = 0.5;
          mem = 256;
          instances = 3;
        };
      };
      description = ''
        Apps by their ids, each as Marathon's `/v2/apps` takes it. They are applied to the cluster
        when the system starts and when they change. Everybody can read them in the Nix store: no
        secrets. Without `instances`, an app keeps as many as somebody scaled it to.
      '';
    };

    apply = {
      enable = mkOption {
        type = types.bool;
        default = apps != { };
        defaultText = lib.literalExpression "config.services.tepui.apps != { }";
        description = "Whether this host applies {option}`services.tepui.apps`.";
      };
      package = mkOption {
        type = types.package;
        default = config.services.tepui.package;
        defaultText = lib.literalExpression "config.services.tepui.package";
        description = "The package with `tepui`.";
      };
      marathon = mkOption {
        type = types.str;
        default = "http://${daemon.reachedOf controlPlane "marathon_listen" "127.0.0.1:8080"}";
        defaultText = lib.literalMD "the control plane of this host, at its `marathon_listen`";
        description = "The Marathon endpoint of the control plane.";
      };
      owner = mkOption {
        type = types.strMatching "[A-Za-z0-9._%-]+";
        default = config.networking.hostName;
        defaultText = lib.literalExpression "config.networking.hostName";
        description = ''
          Whose the apps are: the label `TEPUI_OWNER` of each. Apps of another owner, or of none, are
          never changed. Hosts that apply the same apps have the same owner.
        '';
      };
      prune = mkOption {
        type = types.bool;
        default = true;
        description = ''
          Whether apps of this owner go that are no longer in {option}`services.tepui.apps`. When
          there is none left at all, nothing goes: that looks like a mistake.
        '';
      };
      pruneLimit = mkOption {
        type = types.ints.between 1 100;
        default = 50;
        description = "How many percent of the owner's apps may go at once; one always may.";
      };
      adopt = mkOption {
        type = types.bool;
        default = false;
        description = "Whether apps with these ids that have no owner become this owner's.";
      };
      checkApps = mkOption {
        type = types.bool;
        default = true;
        description = "Whether the definitions are checked when the system is built.";
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = !daemon.hasPassword cfg.marathon;
        message = "services.tepui.apply.marathon has a password, which everybody could read in the Nix store. Put the whole address into a file that only root reads, give it to systemd.services.tepui-apply.serviceConfig.LoadCredential as \"marathon:/run/keys/…\", and set this to file:///run/credentials/tepui-apply.service/marathon.";
      }
      {
        assertion = badIds == [ ];
        message = "services.tepui.apps.\"${concatStringsSep "\", \"" badIds}\" is not an app's id: it begins with a slash, and its parts have small letters, digits, dots and dashes, such as \"/shop/cart\".";
      }
      {
        assertion = otherIds == [ ];
        message = "services.tepui.apps.\"${concatStringsSep "\", \"" otherIds}\" has another id inside. The name is the id: leave the inner one out.";
      }
    ];

    environment.etc."tepui/apps.json".source = file;

    systemd.services.tepui-apply = {
      description = "Apps of Tepui that this host declares";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "tepui-control-plane.service"
      ];
      restartTriggers = [ file ];
      # It tries again until the cluster has a leader and no deployment is in the way; definitions that
      # the cluster refuses for what they are it does not repeat.
      unitConfig = {
        ConditionPathExists = "/etc/tepui/apps.json";
        StartLimitIntervalSec = 0;
      };
      serviceConfig = hardening // {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = lib.escapeShellArgs (
          [
            tepui
            "--marathon"
            cfg.marathon
            "apply"
            "--owner"
            cfg.owner
            "--detach"
          ]
          ++ lib.optionals cfg.prune [
            "--prune"
            "--prune-limit"
            (toString cfg.pruneLimit)
          ]
          ++ lib.optional cfg.adopt "--adopt"
          ++ [ "/etc/tepui/apps.json" ]
        );
        Restart = "on-failure";
        RestartSec = "5s";
        RestartPreventExitStatus = 2;

        DynamicUser = true;
      };
    };
  };
}
