_: {
  one =
    { config, ... }:
    {
      imports = [ ../../nix/reachable.nix ];
      services.tepui.control-plane.enable = true;
      services.tepui.agent = {
        enable = true;
        plugins = [ config.services.tepui.package ];
      };
    };
}
