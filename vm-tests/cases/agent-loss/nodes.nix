{ timeFactor }:
let
  agent = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.agent = {
      enable = true;
      settings.control_plane = [ "http://alpha:5052" ];
    };
  };
in
{
  alpha = {
    imports = [ agent ];
    services.tepui.control-plane = {
      enable = true;
      settings.agent_patience_seconds = builtins.floor (5 * timeFactor);
    };
  };
  beta = agent;
  gamma = agent;
}
