{ timeFactor }:
let
  agent = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.agent = {
      enable = true;
      settings = {
        control_plane = [ "http://one:5052" ];
        # Every figure there is, and soon.
        accounting = [ "all" ];
        container_disk_watch_interval = 1;
      };
    };
  };
in
{
  one = {
    imports = [ agent ];
    services.tepui.control-plane = {
      enable = true;
      settings.agent_patience_seconds = builtins.floor (5 * timeFactor);
    };
    services.prometheus = {
      enable = true;
      globalConfig = {
        scrape_interval = "1s";
        evaluation_interval = "1s";
      };
    };
    services.tepui.monitoring = {
      enable = true;
      controlPlanes = [ "one:5050" ];
      agents = [
        "one:5051"
        "two:5051"
      ];
      apps = {
        servers = [ "http://one:8080" ];
        refreshInterval = "1s";
      };
    };
    environment.etc."shown/dashboards".source = ../../../nixos-modules/monitoring/dashboards;
    environment.etc."shown/metrics.txt".source = ../../../nixos-modules/monitoring/metrics.txt;
  };
  two = agent;
}
