_: {
  one = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
    services.tepui.agent.enable = true;
    environment.etc."shown/metrics.txt".source = ../../../nixos-modules/monitoring/metrics.txt;
  };
}
