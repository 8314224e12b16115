let
  agent = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.agent = {
      enable = true;
      settings.control_plane = [ "http://plane:5052" ];
    };
  };
in
_: {
  plane = {
    imports = [ ../../nix/reachable.nix ];
    services.tepui.control-plane.enable = true;
  };
  processes = {
    imports = [ agent ];
    services.tepui.agent.settings.launcher = "process";
  };
  units = {
    imports = [ agent ];
    services.tepui.agent.settings = {
      launcher = "systemd";
      work_dir = "/persist/tepui-agent";
    };
  };
}
