_:
let
  agent = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.agent = {
      enable = true;
      settings.control_plane = [ "http://one:5052" ];
    };
  };
in
{
  one = {
    imports = [ agent ];
    services.tepui.control-plane.enable = true;
  };
  two = agent;
}
