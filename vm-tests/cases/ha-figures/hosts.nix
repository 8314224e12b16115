# Three hosts that can be broken from outside, and one that breaks them and measures.
{ store, timeFactor }:
let
  names = [
    "alpha"
    "beta"
    "gamma"
  ];
  ensemble = import ../../nix/ensemble.nix { inherit store names timeFactor; };
  port = 9000;

  hand =
    { pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [ port ];
      environment.etc."hand.py".source = ./hand.py;
      systemd.services.hand = {
        description = "Signals and cuts, asked for by HTTP";
        wantedBy = [ "multi-user.target" ];
        path = [ pkgs.nftables ];
        serviceConfig.ExecStart = "${pkgs.python3}/bin/python3 /etc/hand.py ${toString port}";
      };
    };
in
builtins.mapAttrs (_: host: {
  imports = [
    host
    hand
  ];
}) ensemble
// {
  client =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.python3 ];
      environment.etc."figures.py".source = ./figures.py;
      environment.etc."ensemble.json".text = builtins.toJSON { inherit store port names; };
    };
}
