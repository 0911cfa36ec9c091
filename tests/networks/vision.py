"""Networks for images from libraries: torchvision, timm, vit-pytorch, segmentation, crepe."""

from __future__ import annotations

import dataclasses
from functools import partial
from importlib import import_module

from networks.cases import Case, images
from torch import nn

FREE = ((32, 48), (64, 40))
LARGE = ((64, 96), (96, 64))


def _torchvision(name, **changes):
    return getattr(import_module("torchvision.models"), name)(
        weights=None, **{"num_classes": 10, **changes}
    )


def _segmentation(name, **changes):
    return getattr(import_module("torchvision.models.segmentation"), name)(
        weights=None, weights_backbone=None, num_classes=5, **changes
    )


def _small_resnet(block="BasicBlock", **changes):
    module = import_module("torchvision.models.resnet")
    return module.ResNet(getattr(module, block), [1, 1, 1, 1], num_classes=10, **changes)


def _small_densenet():
    models = import_module("torchvision.models")
    return models.DenseNet(8, (2, 3, 2), 16, num_classes=10)


def _small_convnext():
    convnext = import_module("torchvision.models.convnext")
    blocks = [convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, 24, 2),
              convnext.CNBlockConfig(24, None, 1)]  # fmt: skip
    return convnext.ConvNeXt(blocks, stochastic_depth_prob=0.1, num_classes=10)


def _small_vit():
    models = import_module("torchvision.models")
    return models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=48,
        num_classes=10,
    )  # fmt: skip


def _small_swin(block):
    models = import_module("torchvision.models")
    swin = import_module("torchvision.models.swin_transformer")
    merge = swin.PatchMergingV2 if block.endswith("V2") else swin.PatchMerging
    return models.SwinTransformer(
        [2, 2], 12, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.1, num_classes=10,
        block=getattr(swin, block), downsample_layer=merge,
    )  # fmt: skip


def _small_maxvit():
    models = import_module("torchvision.models")
    return models.MaxVit(
        input_size=(64, 64), stem_channels=8, partition_size=4, block_channels=[16, 24],
        block_layers=[1, 1], head_dim=8, stochastic_depth_prob=0.1, num_classes=10,
    )  # fmt: skip


def _small_mobilenet_v3():
    module = import_module("torchvision.models.mobilenetv3")
    settings = [
        module.InvertedResidualConfig(8, 3, 16, 8, True, "RE", 2, 1, 1.0),
        module.InvertedResidualConfig(8, 5, 24, 16, True, "HS", 2, 1, 1.0),
        module.InvertedResidualConfig(16, 5, 32, 16, False, "HS", 1, 2, 1.0),
    ]
    return module.MobileNetV3(settings, 32, num_classes=10)


def tv(name, build, sizes=FREE, inputs=None, **more):
    """One of torchvision."""
    return Case(f"torchvision {name}", build, inputs or images(), sizes, "torchvision", **more)


TORCHVISION = [
    tv("resnet18", partial(_torchvision, "resnet18"), ((32, 48), (64, 64))),
    tv("resnet, small", partial(_small_resnet, width_per_group=64)),
    tv("resnet, bottlenecks", partial(_small_resnet, "Bottleneck", groups=8, width_per_group=4)),
    tv("resnet, dilated", partial(
        _small_resnet, "Bottleneck", replace_stride_with_dilation=[False, True, True])),
    tv("resnet50, 224", partial(_torchvision, "resnet50"), (224,)),
    tv("alexnet", partial(_torchvision, "alexnet"), (64,)),
    tv("vgg11_bn", partial(_torchvision, "vgg11_bn"), (32,), run=False),
    tv("squeezenet1_1", partial(_torchvision, "squeezenet1_1"), LARGE),
    tv("densenet, small", _small_densenet),
    tv("densenet121", partial(_torchvision, "densenet121"), ((32, 48), (64, 64))),
    tv("googlenet", partial(_torchvision, "googlenet", init_weights=False), FREE),
    tv("inception_v3", partial(_torchvision, "inception_v3", init_weights=False), (75,)),
    tv("shufflenet_v2_x0_5", partial(_torchvision, "shufflenet_v2_x0_5")),
    tv("mobilenet_v2, quarter", partial(_torchvision, "mobilenet_v2", width_mult=0.25)),
    tv("mobilenet_v3, small blocks", _small_mobilenet_v3),
    tv("mobilenet_v3_small", partial(_torchvision, "mobilenet_v3_small")),
    tv("mnasnet0_5", partial(_torchvision, "mnasnet0_5")),
    tv("efficientnet_b0", partial(_torchvision, "efficientnet_b0"), ((32, 48), (64, 64))),
    tv("efficientnet_v2_s", partial(_torchvision, "efficientnet_v2_s"), ((32, 48),),
       run=False),
    tv("regnet_x_400mf", partial(_torchvision, "regnet_x_400mf")),
    tv("regnet_y_400mf", partial(_torchvision, "regnet_y_400mf")),
    tv("convnext, small", _small_convnext),
    tv("convnext_tiny", partial(_torchvision, "convnext_tiny"), ((32, 48), (64, 64))),
    tv("vit, small", _small_vit, (32,)),
    tv("vit_b_16", partial(_torchvision, "vit_b_16"), (224,), run=False),
    tv("swin, small", partial(_small_swin, "SwinTransformerBlock")),
    tv("swin v2, small", partial(_small_swin, "SwinTransformerBlockV2")),
    tv("maxvit, small", _small_maxvit, (64,)),
    tv("lraspp", partial(_segmentation, "lraspp_mobilenet_v3_large"), LARGE),
    tv("deeplabv3", partial(_segmentation, "deeplabv3_mobilenet_v3_large"), LARGE),
    tv("fcn_resnet50", partial(_segmentation, "fcn_resnet50"), ((32, 48),), run=False),
]  # fmt: skip


def _timm(name, **changes):
    return import_module("timm").create_model(
        name, pretrained=False, **{"num_classes": 10, **changes}
    )


def tm(name, sizes=FREE, *, title=None, run=True, **changes):
    """One of timm; changes are arguments of the constructor."""
    return Case(
        f"timm {title or name}", partial(_timm, name, **changes), images(), sizes, "timm",
        run=run,
    )  # fmt: skip


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def _timm_class(module, cls, types, **arguments):
    """Some constructors cannot be reached with small numbers through their registered name."""
    module = import_module(f"timm.models.{module}")
    layers = import_module("timm.layers")

    def named(name):
        if isinstance(name, tuple):
            return [named(one) for one in name]
        return getattr(module, name, None) or getattr(layers, name)

    found = {key: named(name) for key, name in types.items()}
    return getattr(module, cls)(num_classes=10, **arguments, **found)


def tc(title, module, cls, sizes=(32,), types=(), **arguments):
    """One of timm, made from its class; types name classes among the arguments."""
    return Case(
        f"timm {title}", partial(_timm_class, module, cls, dict(types), **arguments), images(),
        sizes, "timm",
    )  # fmt: skip


PATCHES = {"img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 24}

TIMM = [
    tm("ghostnet_050"),
    tm("ghostnetv2_100", ((96, 128),)),
    tm("repghostnet_050"),
    tm("tf_efficientnet_b0"),
    tm("tf_mobilenetv3_small_minimal_100"),
    tm("lcnet_050"),
    tm("tinynet_e"),
    tm("mobilenetv3_small_050"),
    tm("mobilenetv4_conv_small_050"),
    tm("semnasnet_075"),
    tm("fbnetc_100"),
    tm("hardcorenas_a"),
    tm("spnasnet_100"),
    tm("mixnet_s"),
    tm("resnet10t"),
    tm("seresnet18", title="seresnet, small", layers=(1, 1, 1, 1), channels=(8, 16, 24, 32)),
    tc("resnet, eca and antialiasing", "resnet", "ResNet", FREE,
       {"block": "BasicBlock", "aa_layer": "BlurPool2d"}, layers=(1, 1, 1, 1),
       channels=(8, 16, 24, 32), block_args={"attn_layer": "eca"}),
    tm("skresnet18"),
    tm("resnest14d"),
    tm("resnetv2_50", ((32, 48),), title="resnetv2, standardised weights", layers=(1, 1, 1, 1),
       channels=(32, 32, 64, 64), stem_chs=32,
       conv_layer=lambda *a, **k: import_module("timm.layers").StdConv2d(*a, **k)),
    tm("nf_regnet_b0"),
    tm("repvgg_a0"),
    tm("mobileone_s0"),
    tm("cspresnet50", run=False),
    tm("dla46_c", LARGE),
    tm("hrnet_w18_small", LARGE, run=False),
    tm("selecsls42", run=False),
    tm("xception41", run=False),
    tm("dpn48b", run=False),
    tm("ese_vovnet19b_slim_dw"),
    tm("hgnetv2_b0"),
    tm("starnet_s1"),
    tm("regnetz_b16", run=False),
    tm("convnext_atto", title="convnext, small", depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)),
    tm("convnextv2_atto", title="convnextv2, small", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    tm("inception_next_atto", title="inception_next, small", depths=(1, 1, 1, 1),
       dims=(16, 16, 24, 32)),
    tm("edgenext_xx_small"),
    tm("mobilevit_xxs", ((64, 64),)),
    tm("mobilevitv2_050", ((64, 64),)),
    tm("fastvit_t8", ((64, 64),)),
    tm("efficientvit_b0", ((64, 64),)),
    tm("efficientformer_l1", (224,), run=False),
    tc("poolformer, small", "metaformer", "MetaFormer", FREE,
       {"norm_layers": "GroupNorm1"}, mlp_act=nn.GELU, depths=(1, 1, 1, 1),
       dims=(8, 16, 24, 32), layer_scale_init_values=1e-5, downsample_norm=None, mlp_bias=True,
       res_scale_init_values=None, use_mlp_head=False),
    tm("repvit_m0_9"),
    tm("mambaout_femto", title="mambaout, small", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    tm("vit_tiny_patch16_224", (32,), title="vit, small", **VIT),
    tm("vit_tiny_patch16_224", (224,), title="vit_tiny", run=False),
    tm("deit_tiny_distilled_patch16_224", (32,), title="deit, small", **VIT),
    tm("beit_base_patch16_224", (32,), title="beit, small", **VIT),
    tm("eva02_tiny_patch14_224", (32,), title="eva02, small", **VIT),
    tm("cait_xxs24_224", (32,), title="cait, small", **VIT),
    tm("xcit_nano_12_p16_224", (32,), title="xcit, small",
       **{**VIT, "embed_dim": 32, "num_heads": 2}),
    tc("mixer, small", "mlp_mixer", "MlpMixer", **PATCHES),
    tc("resmlp, small", "mlp_mixer", "MlpMixer", types={
        "block_layer": "ResBlock", "norm_layer": "Affine"}, mlp_ratio=2, **PATCHES),
    tc("gmlp, small", "mlp_mixer", "MlpMixer", types={
        "block_layer": "SpatialGatingBlock", "mlp_layer": "GatedMlp"}, mlp_ratio=2, **PATCHES),
    tm("swin_tiny_patch4_window7_224", (32,), title="swin, small", img_size=32, patch_size=2,
       window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4)),
    tm("swinv2_tiny_window8_256", (32,), title="swinv2, small", img_size=32, patch_size=2,
       window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 4)),
    tm("pit_ti_224", (32,), title="pit, small", img_size=32, patch_size=8, stride=4,
       base_dims=(8, 8), depth=(1, 1), heads=(2, 4), mlp_ratio=2.0),
    tm("levit_128s", (64,), title="levit, small", img_size=64, embed_dim=(16, 24, 32),
       key_dim=8, depth=(1, 1, 1), num_heads=(2, 3, 4)),
    tm("pvt_v2_b0", (64,)),
    tm("coat_lite_tiny", (64,), img_size=64),
    tm("crossvit_tiny_240", (240,), run=False),
    tm("twins_svt_small", (224,), run=False),
    tm("visformer_tiny", (224,), run=False),
    tm("volo_d1_224", (224,), run=False),
    tm("davit_tiny", title="davit, small", depths=(1, 1), embed_dims=(16, 24), num_heads=(2, 3),
       num_groups=None),
    tc("focalnet, small", "focalnet", "FocalNet", FREE, depths=(1, 1, 1, 1), embed_dim=8),
    tm("coatnet_nano_rw_224", (224,), run=False),
    tm("sequencer2d_s", (32,), title="sequencer2d, small", layers=(1, 1, 1, 1),
       embed_dims=(16, 16, 16, 16), hidden_sizes=(8, 8, 8, 8), patch_sizes=(4, 1, 1, 1),
       img_size=32),
    tm("tnt_s_patch16_224", (32,), title="tnt, small", img_size=32, patch_size=16, embed_dim=24,
       inner_dim=8, depth=2, num_heads_outer=2, num_heads_inner=2),
    tm("lambda_resnet26rpt_256", (256,), run=False),
    tm("botnet26t_256", (256,), run=False),
    tc("convmixer, small", "convmixer", "ConvMixer", FREE, depth=2, kernel_size=5,
       patch_size=4, dim=16),
]  # fmt: skip


def _vit_pytorch(module, name, **arguments):
    return getattr(import_module(f"vit_pytorch.{module}"), name)(**arguments)


def vp(name, module, cls, size=32, **arguments):
    """One of vit-pytorch."""
    base = {"image_size": 32, "patch_size": 8, "num_classes": 10, "dim": 24}
    base.update(arguments)
    base = {key: value for key, value in base.items() if value is not None}
    return Case(
        f"vit-pytorch {name}", partial(_vit_pytorch, module, cls, **base), images(), (size,),
        "vit_pytorch",
    )  # fmt: skip


ENCODER = {"depth": 2, "heads": 2, "mlp_dim": 48}

VIT_PYTORCH = [
    vp("vit", "vit", "ViT", **ENCODER),
    vp("simple vit", "simple_vit", "SimpleViT", **ENCODER),
    vp("deepvit", "deepvit", "DeepViT", **ENCODER),
    vp("cait", "cait", "CaiT", **ENCODER, cls_depth=1),
    vp("parallel vit", "parallel_vit", "ViT", **ENCODER),
    vp("cct", "cct", "CCT", patch_size=None, dim=None, img_size=32, image_size=None,
       embedding_dim=24, n_conv_layers=1, num_layers=2, num_heads=2, mlp_ratio=2.0),
    vp("pit", "pit", "PiT", 64, image_size=64, depth=(1, 1), heads=2, mlp_dim=48),
    vp("cvt", "cvt", "CvT", 64, image_size=None, patch_size=None, dim=None,
       s1_emb_dim=8, s1_heads=1, s1_depth=1, s2_emb_dim=16, s2_heads=1, s2_depth=1,
       s3_emb_dim=24, s3_heads=2, s3_depth=1),
    vp("mobile vit", "mobile_vit", "MobileViT", 64, image_size=(64, 64), patch_size=(2, 2),
       dim=None, dims=[12, 16, 20], channels=[8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 32]),
    vp("t2t", "t2t", "T2TViT", patch_size=None, depth=2, heads=2, mlp_dim=48,
       t2t_layers=((7, 4), (3, 2))),
    vp("vit with registers", "simple_vit_with_register_tokens", "SimpleViT", **ENCODER),
]  # fmt: skip


def _smp(name, **changes):
    return getattr(import_module("segmentation_models_pytorch"), name)(
        **{"encoder_name": "resnet18", "encoder_weights": None, "classes": 3, **changes}
    )


def smp(name, sizes=(64,), run=False, **changes):
    """One of segmentation-models-pytorch."""
    encoder = changes.get("encoder_name", "resnet18")
    return Case(
        f"segmentation {name}, {encoder}", partial(_smp, name, **changes), images(), sizes,
        "segmentation_models_pytorch", run=run,
    )  # fmt: skip


LIGHT = "tu-tf_mobilenetv3_small_minimal_100"
SEGMENTATION = [
    smp("Unet", run=True, encoder_name=LIGHT, decoder_channels=(32, 24, 16, 8, 8)),
    smp("Unet", decoder_attention_type="scse"),
    smp("UnetPlusPlus"),
    smp("FPN", run=True, encoder_name=LIGHT),
    smp("Linknet"),
    smp("PSPNet"),
    smp("MAnet", run=True, encoder_name=LIGHT, decoder_channels=(32, 24, 16, 8, 8)),
    smp("PAN", (128,), run=True, encoder_name=LIGHT),
    smp("DeepLabV3Plus", run=True, encoder_name=LIGHT),
    smp("UPerNet", run=True, encoder_name=LIGHT),
]

QUICK = {
    "torchvision densenet, small", "torchvision mobilenet_v3, small blocks",
    "torchvision convnext, small", "torchvision vit, small", "torchvision swin, small",
    "timm seresnet, small", "timm convnextv2, small", "timm vit, small", "timm mixer, small",
    "timm poolformer, small", "timm beit, small", "timm levit, small", "vit-pytorch vit",
    "vit-pytorch cct", "vit-pytorch cvt",
}  # fmt: skip
"""What runs every time, one of every kind; the rest is marked slow."""
CASES = [
    dataclasses.replace(case, slow=case.name not in QUICK)
    for case in (*TORCHVISION, *TIMM, *VIT_PYTORCH, *SEGMENTATION)
]
