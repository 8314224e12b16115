# Prometheus reads both daemons and finds the apps' tasks; Grafana shows the dashboards.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkIf
    mkOption
    types
    ;

  cfg = config.services.tepui.monitoring;
  daemon = import ./daemon.nix { inherit lib pkgs; };
  controlPlane = config.services.tepui.control-plane or { };
  agent = config.services.tepui.agent or { };
  shipped = ./monitoring;
  targets =
    description: default:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
      defaultText = lib.literalMD "what listens on this host";
    };

  # The shipped rules, with links to where people find the runbook.
  shippedRules =
    if cfg.runbookUrl == null then
      shipped + "/rules/tepui.yml"
    else
      pkgs.writeText "tepui.yml" (
        builtins.replaceStrings [ "\"runbook.md#" ] [ "\"${cfg.runbookUrl}#" ] (
          builtins.readFile (shipped + "/rules/tepui.yml")
        )
      );
  daemonJob = name: targets: {
    job_name = name;
    metrics_path = "/metrics";
    static_configs = [ { inherit targets; } ];
  };
in
{
  options.services.tepui.monitoring = {
    enable = lib.mkEnableOption ''
      scraping a Tepui cluster by the Prometheus of this host, and its dashboards in the Grafana of
      this host, whichever of them there is'';

    controlPlanes = targets "Control planes, at the ports of their Mesos APIs." [
      (daemon.reachedOf controlPlane "listen" "127.0.0.1:5050")
    ];
    agents = targets "Agents, at the ports of their own endpoints." [
      (daemon.reachedOf agent "listen" "127.0.0.1:5051")
    ];

    apps = {
      servers = targets ''
        Marathon endpoints at which Prometheus finds the tasks of apps; empty leaves them out. Tasks
        are scraped whose app has the label `TEPUI_METRICS=true`, at the path that `TEPUI_METRICS_PATH`
        names, `/metrics` if none does.
      '' [ "http://${daemon.reachedOf controlPlane "marathon_listen" "127.0.0.1:8080"}" ];

      refreshInterval = mkOption {
        type = types.str;
        default = "30s";
        description = "How often tasks are looked for.";
      };
    };

    rules = mkOption {
      type = types.listOf types.path;
      default = [ shippedRules ];
      defaultText = lib.literalMD "`nixos-modules/monitoring/rules/tepui.yml`";
      description = "Files with recording and alerting rules.";
    };

    dashboards = mkOption {
      type = types.nullOr types.path;
      default = shipped + "/dashboards";
      defaultText = lib.literalMD "`nixos-modules/monitoring/dashboards`";
      description = "Folder with Grafana's dashboards, as JSON; null provisions none.";
    };

    runbookUrl = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "https://wiki.example.org/tepui/runbook";
      description = ''
        Where people find `nixos-modules/monitoring/runbook.md`: alerts link to its chapters. By
        default their links are relative, `runbook.md#…`.
      '';
    };

    prometheusUrl = mkOption {
      type = types.nullOr types.str;
      default = "http://127.0.0.1:9090";
      description = ''
        Prometheus as Grafana reaches it, for a data source of the name `Tepui`; null makes none.
      '';
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = config.services.prometheus.enable || config.services.grafana.enable;
        message = "services.tepui.monitoring is enabled, but this host has neither Prometheus nor Grafana. Set services.prometheus.enable or services.grafana.enable, or enable it on the host that has them.";
      }
      {
        assertion = builtins.all (server: builtins.match "https?://.+" server != null) cfg.apps.servers;
        message = "services.tepui.monitoring.apps.servers takes addresses with their scheme, such as \"http://node1:8080\".";
      }
      {
        assertion = builtins.all (target: builtins.match "[^/]+:[0-9]+" target != null) (
          cfg.controlPlanes ++ cfg.agents
        );
        message = "services.tepui.monitoring.controlPlanes and agents take HOST:PORT, without http://, such as \"node1:5051\".";
      }
    ];

    services.prometheus = mkIf config.services.prometheus.enable {
      ruleFiles = cfg.rules;
      scrapeConfigs = [
        (daemonJob "tepui-control-plane" cfg.controlPlanes)
        (daemonJob "tepui-agent" cfg.agents)
      ]
      ++ lib.optional (cfg.apps.servers != [ ]) {
        job_name = "tepui-apps";
        marathon_sd_configs = [
          {
            inherit (cfg.apps) servers;
            refresh_interval = cfg.apps.refreshInterval;
          }
        ];
        relabel_configs = [
          {
            source_labels = [ "__meta_marathon_app_label_TEPUI_METRICS" ];
            regex = "true";
            action = "keep";
          }
          {
            source_labels = [ "__meta_marathon_app_label_TEPUI_METRICS_PATH" ];
            regex = "(/.*)";
            target_label = "__metrics_path__";
          }
          {
            source_labels = [ "__meta_marathon_app" ];
            target_label = "app";
          }
          {
            source_labels = [ "__meta_marathon_task" ];
            target_label = "task";
          }
        ];
      };
    };

    services.grafana.provision = mkIf config.services.grafana.enable {
      enable = true;
      datasources.settings.datasources = mkIf (cfg.prometheusUrl != null) [
        {
          name = "Tepui";
          type = "prometheus";
          uid = "tepui";
          url = cfg.prometheusUrl;
        }
      ];
      dashboards.settings.providers = mkIf (cfg.dashboards != null) [
        {
          name = "Tepui";
          folder = "Tepui";
          options.path = cfg.dashboards;
        }
      ];
    };
  };
}
